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
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from provisioning.models.runs import Run
from tenants.placement import public_id


class ErasureState(models.TextChoices):
    """There is no `failed`: whoever is stuck keeps the state and the clock, and `attention` says why."""

    RECEIVED = "received"
    IDENTIFYING = "identifying"
    PLANNING = "planning"
    BLOCKED = "blocked"
    AWAITING_APPROVAL = "awaiting_approval"
    SCHEDULED = "scheduled"
    FREEZING = "freezing"
    ERASING = "erasing"
    CHECKING = "checking"
    SETTLING = "settling"
    COMPLETED = "completed"
    REGRESSED = "regressed"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    MERGED = "merged"


UNAPPROVED = (
    ErasureState.RECEIVED,
    ErasureState.IDENTIFYING,
    ErasureState.PLANNING,
    ErasureState.BLOCKED,
    ErasureState.AWAITING_APPROVAL,
)
CLOSED = (ErasureState.REJECTED, ErasureState.CANCELLED, ErasureState.MERGED)  # without having destroyed anything
LEFT_OF_THE_BAR = (*UNAPPROVED, ErasureState.SCHEDULED, ErasureState.FREEZING)
RIGHT_OF_THE_BAR = (
    ErasureState.ERASING,
    ErasureState.CHECKING,
    ErasureState.SETTLING,
    ErasureState.COMPLETED,
    ErasureState.REGRESSED,
)
ENDED_REQUESTS = (*CLOSED, ErasureState.COMPLETED)


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


class Judged(models.TextChoices):
    CLEAN = "clean"
    DIRTY = "dirty"
    UNKNOWN = "unknown"


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
    """One tenant's or one person's data, to be erased by a date. Only `erasure.states.to` writes `state`.

    `identifiers` and each store's `found` are sealed under the request's own key (`owner_ref` is this id), which is
    destroyed when the request has ended. `kinds` says of which kind they are, in words like "email"; `subject_digest`
    is a keyed hash of the first. `counted` is the last look of the verifiers while nobody has proposed. `clock` and
    `fence` are as the certificate prints them. `look_at` is when the sweep looks again. `certificate` is the payload.
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
                condition=~_in(*ENDED_REQUESTS),
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
        return public_id("era", self.id)


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


class ErasureStore(models.Model):
    """One store of one round. `planned` was counted behind the fence, by the verifier; the rest says what became of it.

    `passes` counts how often the eraser has come to its end: outside stores are gone through again in phase 6. `found`
    is the sealed enumeration. `failed` is findings. `verdict`, `remaining` and `judged` are the verifier's last word.
    """

    request = models.ForeignKey(ErasureRequest, on_delete=models.PROTECT, related_name="stores", db_index=False)
    round = models.PositiveSmallIntegerField()
    store = models.CharField(max_length=48)
    planned = models.PositiveBigIntegerField(null=True)
    deleted = models.PositiveBigIntegerField(default=0)
    absent = models.PositiveBigIntegerField(default=0)
    retained = models.PositiveBigIntegerField(default=0)
    remaining = models.PositiveBigIntegerField(null=True)
    failed = models.JSONField(default=list)
    found = models.BinaryField(null=True)
    cursor = models.TextField(null=True)  # noqa: DJ001  null: at the beginning, or at the end
    passes = models.PositiveSmallIntegerField(default=0)
    verdict = models.CharField(max_length=16, choices=Judged.choices, default="", blank=True)
    judged = models.JSONField(default=dict, encoder=DjangoJSONEncoder)
    judged_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["request", "round", "store"], name="erasurestore_once_a_round"),
            models.CheckConstraint(
                condition=Q(verdict="", judged_at=None) | _one_of("verdict", Judged) & Q(judged_at__isnull=False),
                name="erasurestore_verdict_known",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.store}, round {self.round}"


class RecordHold(models.Model):
    """A set of records that a law keeps although its erasure is asked for. Released: a follow-up request opens."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    request = models.ForeignKey(ErasureRequest, on_delete=models.PROTECT, related_name="holds", db_index=False)
    store = models.CharField(max_length=48)
    locator = models.CharField(max_length=200, help_text="As the verifier names the place: a table, a bucket.")
    ground = models.CharField(max_length=200)
    review_at = models.DateTimeField()
    placed_by = models.UUIDField()
    caller = models.CharField(max_length=120)
    key = models.CharField(max_length=255)
    placed_at = models.DateTimeField(db_default=Now(), editable=False)
    released_by = models.UUIDField(null=True)
    released_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["caller", "key"], name="recordhold_key_per_caller"),
            models.UniqueConstraint(
                fields=["request", "store", "locator"], condition=Q(released_at=None), name="recordhold_once"
            ),
            models.CheckConstraint(condition=~Q(ground=""), name="recordhold_says_why"),
            models.CheckConstraint(
                condition=Q(released_at=None, released_by=None)
                | Q(released_at__isnull=False, released_by__isnull=False),
                name="recordhold_released_by_whom",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.store}: {self.locator}"


class Recheck(models.Model):
    """A day on which all verifiers look again. `verdict` is the worst of them."""

    request = models.ForeignKey(ErasureRequest, on_delete=models.PROTECT, related_name="rechecks", db_index=False)
    due_at = models.DateTimeField()
    why = models.CharField(max_length=24, help_text="`day 1`, `day 7`, `day 30`, `residue`, `asked`.")
    verdict = models.CharField(max_length=16, choices=Judged.choices, default="", blank=True)
    dirty = models.JSONField(default=list, help_text="Names of the stores that were not clean.")
    done_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["request", "due_at"], name="recheck_once"),
            models.CheckConstraint(
                condition=Q(verdict="", done_at=None) | _one_of("verdict", Judged) & Q(done_at__isnull=False),
                name="recheck_done_says_what",
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["due_at"], condition=Q(done_at=None), name="recheck_due")]

    def __str__(self) -> str:
        return f"{self.why} of {self.request_id}"
