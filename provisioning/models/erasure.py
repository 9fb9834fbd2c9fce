"""Requests to erase: whose data, by when, who asked and who approved, what each store held, and what a law keeps.

Two persons are kept by the database, not by an `if`: see Note [Two persons].

# Note [Two persons]
An approval repeats who requested and who proposed, and composite foreign keys make both true; a check then compares
them with who approves. The request points at its approval together with the digest, so that no approval serves another
plan. The runtime role may update none of these columns but the pointer, and delete no row: tenants.isolation.grants.
The keys are SQL of a migration, as Django knows no composite ones. That a reference stands for whoever sits at the
keyboard is the doors' work.
"""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models, transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from provisioning.models.erasure_states import (
    CLOSED,
    ENDED_REQUESTS,
    ERASURE_TRANSITIONS,
    LEFT_OF_THE_BAR,
    RIGHT_OF_THE_BAR,
    SAYS,
    UNAPPROVED,
    VOIDED,
    ErasureState,
)
from provisioning.models.runs import Run
from tenants import audit, events
from tenants.actions import Actor, ObjectType
from tenants.errors import StateConflict
from tenants.placement import public_id


class ErasureKind(models.TextChoices):
    TENANT = "tenant", "everything of one tenant"
    SUBJECT = "subject", "one person within a tenant"


class Basis(models.TextChoices):
    """Why it is asked for: the end of a contract, or a ground of GDPR Art. 17(1)."""

    CONTRACT_END = "contract_end"
    NO_LONGER_NEEDED = "no_longer_needed"
    CONSENT_WITHDRAWN = "consent_withdrawn"
    OBJECTION = "objection"
    UNLAWFUL = "unlawful"
    LEGAL_OBLIGATION = "legal_obligation"


class DeadlinePolicy(models.TextChoices):
    EU = "eu", "one calendar month, two more by extension"
    CONTRACT = "contract", "days from a contract"


class ExtensionReason(models.TextChoices):
    """GDPR Art. 12(3)."""

    COMPLEX = "complex"
    NUMEROUS = "numerous"


def _one_of(field: str, choices: type[models.TextChoices]) -> Q:
    return Q(**{f"{field}__in": [str(value) for value in choices]})


def _in(*states: str) -> Q:
    return Q(state__in=[str(state) for state in states])


class Person(models.Model):
    """Whom rows of erasure name: a random reference, not a name. `answerable` leads back, until it is blanked."""

    ref = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    answerable = models.CharField(max_length=120, null=True, unique=True)  # noqa: DJ001  null: the person is forgotten

    def __str__(self) -> str:
        return str(self.ref)


class ErasureRequest(models.Model):
    """One tenant's or one person's data, to be erased by a date. Only `to` writes `state`.

    `identifiers` and each store's `found` are sealed under the request's own key (`owner_ref` is this id), which is
    destroyed when the request has ended. `kinds` says of which kind they are, in words like "email"; `subject_digest`
    is a keyed hash of the first. `counted` is the last look of the verifiers while nobody has proposed. `fence` is
    as the certificate prints it, beside `neighbours`, which `collateral.standing_beside` gave. `look_at` is when the
    sweep looks again. `certificate` is the payload.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=16, choices=ErasureKind.choices)
    tenant = models.ForeignKey("tenants.Tenant", on_delete=models.PROTECT, related_name="erasure_requests")
    incarnation = models.UUIDField(help_text="The life of the tenant that was meant.")
    subject_digest = models.BinaryField(max_length=32, null=True)
    identifiers = models.BinaryField(null=True)
    kinds = models.JSONField(default=list)
    basis = models.CharField(max_length=24, choices=Basis.choices)
    state = models.CharField(max_length=24, choices=ErasureState.choices, default=ErasureState.RECEIVED)
    state_since = models.DateTimeField(db_default=Now())
    version = models.PositiveBigIntegerField(default=1)
    requested_by = models.UUIDField()
    caller = models.CharField(max_length=120, help_text="The actor whose `key` makes a repeat harmless.")
    key = models.CharField(max_length=255)
    fingerprint = models.BinaryField(max_length=32, help_text="Keyed hash of what was asked.")
    policy = models.CharField(max_length=16, choices=DeadlinePolicy.choices)
    time_zone = models.CharField(max_length=64)
    received_at = models.DateTimeField()
    due_at = models.DateTimeField()
    extended_until = models.DateTimeField(null=True)
    extension_reason = models.CharField(max_length=16, choices=ExtensionReason.choices, default="", blank=True)
    notice_sent_at = models.DateTimeField(null=True)
    grace = models.DurationField()
    starts_at = models.DateTimeField(null=True, help_text="When the grace ends.")
    look_at = models.DateTimeField(db_default=Now(), null=True)
    identity_evidence = models.UUIDField(null=True, help_text="Where the proof of identity lies; never the proof.")
    merged_into = models.ForeignKey("self", on_delete=models.PROTECT, null=True, related_name="merged", db_index=False)
    follows = models.ForeignKey("self", on_delete=models.PROTECT, null=True, related_name="followed_by", db_index=False)
    counted = models.JSONField(null=True, encoder=DjangoJSONEncoder)
    plan_digest = models.BinaryField(max_length=32, null=True)
    approval_id = models.UUIDField(null=True)
    run = models.ForeignKey(Run, on_delete=models.PROTECT, null=True, related_name="+", help_text="The latest.")
    round = models.PositiveSmallIntegerField(default=0, help_text="Once through the phases; 3 and then a person.")
    fence = models.JSONField(default=dict, encoder=DjangoJSONEncoder)
    tombstone = models.PositiveBigIntegerField(null=True, help_text="Its number in the ledger.")
    destroy_started_at = models.DateTimeField(null=True)
    checked_at = models.DateTimeField(null=True, help_text="The first of two checks, while the soak runs.")
    settled_at = models.DateTimeField(null=True)
    settles_at = models.DateTimeField(null=True, help_text="The last date of a residue.")
    certificate = models.JSONField(null=True, encoder=DjangoJSONEncoder)
    retained_items = models.PositiveBigIntegerField(default=0)
    attention = models.CharField(max_length=64, default="", blank=True, help_text="Code of what needs a person.")
    reason = models.CharField(max_length=64, default="", blank=True, help_text="Code of why it was closed.")
    key_destroyed_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["caller", "key"], name="erasurerequest_key_per_caller"),
            models.UniqueConstraint(fields=["id", "requested_by"], name="erasurerequest_by_whom"),
            models.UniqueConstraint(
                fields=["tenant", "kind", "subject_digest"],
                condition=~_in(*ENDED_REQUESTS) & Q(follows=None),
                nulls_distinct=False,
                name="erasurerequest_one_open_per_scope",
            ),
            models.CheckConstraint(condition=_one_of("state", ErasureState), name="erasurerequest_state_known"),
            models.CheckConstraint(condition=_one_of("kind", ErasureKind), name="erasurerequest_kind_known"),
            models.CheckConstraint(condition=_one_of("basis", Basis), name="erasurerequest_basis_known"),
            models.CheckConstraint(condition=_one_of("policy", DeadlinePolicy), name="erasurerequest_policy_known"),
            models.CheckConstraint(
                condition=Q(kind="tenant", subject_digest=None, identifiers=None)
                | Q(kind="subject", subject_digest__isnull=False, policy="eu"),
                name="erasurerequest_subject_is_named",
            ),
            models.CheckConstraint(
                condition=_in(*UNAPPROVED, *CLOSED) | Q(approval_id__isnull=False), name="erasurerequest_approved"
            ),
            models.CheckConstraint(  # a NULL would switch the foreign key to the approval off
                condition=Q(approval_id=None) | Q(plan_digest__isnull=False), name="erasurerequest_approval_of_a_plan"
            ),
            models.CheckConstraint(
                condition=Q(extended_until=None, extension_reason="", notice_sent_at=None)
                | Q(policy="eu", extended_until__gt=F("due_at"), notice_sent_at__lte=F("due_at"))
                & _one_of("extension_reason", ExtensionReason),
                name="erasurerequest_extended_in_time",
            ),
            models.CheckConstraint(condition=Q(due_at__gt=F("received_at")), name="erasurerequest_due_later"),
            models.CheckConstraint(
                condition=_in(*LEFT_OF_THE_BAR, *CLOSED) & Q(destroy_started_at=None)
                | _in(*RIGHT_OF_THE_BAR) & Q(destroy_started_at__isnull=False, tombstone__isnull=False),
                name="erasurerequest_bar_says_when",
            ),
            models.CheckConstraint(
                condition=_in(*ENDED_REQUESTS) & Q(finished_at__isnull=False)
                | ~_in(*ENDED_REQUESTS) & Q(finished_at=None),
                name="erasurerequest_ended_says_when",
            ),
            models.CheckConstraint(
                condition=~_in("settling", "completed") | Q(certificate__isnull=False, settled_at__isnull=False),
                name="erasurerequest_settled_is_certified",
            ),
            models.CheckConstraint(condition=~_in(*CLOSED) | ~Q(reason=""), name="erasurerequest_closed_says_why"),
            models.CheckConstraint(
                condition=Q(state="merged", merged_into__isnull=False) | ~Q(state="merged") & Q(merged_into=None),
                name="erasurerequest_merged_into_one",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["created_at", "id"], name="erasurerequest_created"),
            models.Index(fields=["look_at"], condition=Q(look_at__isnull=False), name="erasurerequest_due_a_look"),
        ]
        permissions: ClassVar = [
            ("request_erasure", "May request, prove, propose, extend and cancel erasures, and hold records"),
            ("approve_erasure", "May approve or reject erasures that somebody else proposed"),
        ]

    def __str__(self) -> str:
        return self.public_id

    @property
    def public_id(self) -> str:
        return public_id("ers", self.id)

    def to(self, state: ErasureState, *, actor: Actor, **changes: object) -> None:
        """Move to `state`, and change these columns, by compare-and-set; the audit entry is in the same transaction.

        Back in planning, what was proposed and approved is void. Raises StateConflict if that is not allowed or
        another was first.
        """
        if state not in ERASURE_TRANSITIONS[ErasureState(self.state)]:
            raise StateConflict(
                f"Erasure {self.public_id} is {self.state} and cannot become {state}.", state=self.state
            )
        voided = state == ErasureState.PLANNING and self.plan_digest is not None
        if state == ErasureState.PLANNING:
            changes = {"approval_id": None, "plan_digest": None, "starts_at": None, "counted": None, **changes}
        changes = {"finished_at": Now() if state in ENDED_REQUESTS else None, **changes}
        with transaction.atomic():
            row = ErasureRequest.objects.filter(pk=self.pk, state=self.state, version=self.version)
            if row.update(state=state, state_since=Now(), version=F("version") + 1, **changes) != 1:
                raise StateConflict(f"Erasure {self.public_id} changed at the same moment. Read it again.")
            self.refresh_from_db()
            self.say(*(VOIDED if voided else SAYS[state]), actor=actor)

    def say(self, action: audit.AuditAction, event: events.EventType | None = None, *, actor: Actor) -> None:
        """One audit entry about this request, and an event where integrations are told. Inside a transaction."""
        if event is not None:
            data = {"request": self.public_id, "kind": self.kind}
            events.record(event, tenant_id=self.tenant_id, operation=self.run_id, data=data)
        about = (ObjectType.ERASURE_REQUEST, self.pk)
        audit.write(action, actor=actor, object=about, tenant=self.tenant_id, operation=self.run_id)


class ErasurePlan(models.Model):
    """What one person froze for another to approve. `digest` is the SHA-256 of `document` in canonical JSON."""

    pk = models.CompositePrimaryKey("request", "digest")
    request = models.ForeignKey(ErasureRequest, on_delete=models.PROTECT, related_name="plans", db_index=False)
    digest = models.BinaryField(max_length=32)
    proposed_by = models.UUIDField()
    document = models.JSONField()
    proposed_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["request", "digest", "proposed_by"], name="erasureplan_by_whom"),
        ]

    def __str__(self) -> str:
        return bytes(self.digest).hex()


class ErasureApproval(models.Model):
    """One person's word for one plan of another. The migration adds the keys that make the three references true."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    request = models.ForeignKey(ErasureRequest, on_delete=models.PROTECT, related_name="approvals", db_index=False)
    digest = models.BinaryField(max_length=32)
    requested_by = models.UUIDField()
    proposed_by = models.UUIDField()
    approved_by = models.UUIDField()
    approved_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["id", "request", "digest"], name="erasureapproval_of_a_plan"),
            models.CheckConstraint(
                condition=~Q(approved_by=F("proposed_by")) & ~Q(approved_by=F("requested_by")),
                name="erasureapproval_by_another",
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)


class ErasureAct(models.Model):
    """What somebody asked of a request, by the key that makes a repeat harmless."""

    request = models.ForeignKey(ErasureRequest, on_delete=models.PROTECT, related_name="acts")
    verb = models.CharField(max_length=24)
    caller = models.CharField(max_length=120)
    key = models.CharField(max_length=255)
    by = models.UUIDField()
    at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["caller", "key"], name="erasureact_key_per_caller")]

    def __str__(self) -> str:
        return f"{self.verb} {self.request_id}"
