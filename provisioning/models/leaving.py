"""What is to become of a tenant, and what stands in the way: dates for its verbs, and legal holds."""

from __future__ import annotations

import uuid
from typing import ClassVar
from uuid import UUID

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from provisioning.models.runs import Run
from tenants.placement import public_id


class Schedule(models.Model):
    """A date on which a tenant is suspended or deleted by itself: a billing system's dunning.

    It fires once, as an operation whose key is derived from the row, so that no number of sweepers starts two.
    """

    class Verb(models.TextChoices):
        SUSPEND = "suspend", "suspend it"
        DELETE = "delete", "delete it"

    class State(models.TextChoices):
        WAITING = "waiting", "waits for its date"
        FIRED = "fired", "started its operation"
        REFUSED = "refused", "came to nothing: the tenant did not allow it"
        CANCELLED = "cancelled", "cancelled before its date"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey("tenants.Tenant", on_delete=models.PROTECT, related_name="schedules")
    verb = models.CharField(max_length=16, choices=Verb.choices)
    at = models.DateTimeField(help_text="From when on.")
    delete_reason = models.CharField(max_length=16, blank=True)
    keep_days = models.PositiveIntegerField(null=True, blank=True, help_text="Of a deletion: days until the purge.")
    state = models.CharField(max_length=16, choices=State.choices, default=State.WAITING)
    actor = models.CharField(max_length=120, help_text="Who scheduled it.")
    reason = models.CharField(max_length=500)
    operation = models.ForeignKey(Run, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    note = models.CharField(max_length=500, blank=True, help_text="Why it was cancelled, or came to nothing.")
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    settled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["tenant", "verb"], condition=Q(state="waiting"), name="schedule_one_waiting_per_verb"
            ),
            models.CheckConstraint(condition=Q(verb__in=["suspend", "delete"]), name="schedule_verb_known"),
            models.CheckConstraint(
                condition=Q(state__in=["waiting", "fired", "refused", "cancelled"]), name="schedule_state_known"
            ),
            models.CheckConstraint(
                condition=Q(state="waiting", settled_at=None) | (~Q(state="waiting") & Q(settled_at__isnull=False)),
                name="schedule_settled_says_when",
            ),
            models.CheckConstraint(
                condition=~Q(state="fired") | Q(operation__isnull=False), name="schedule_fired_says_what"
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["at"], condition=Q(state="waiting"), name="schedule_due")]

    def __str__(self) -> str:
        return f"{self.verb} on {self.at:%Y-%m-%d}"

    @property
    def public_id(self) -> str:
        return public_id("sch", self.id)


class LegalHoldQuerySet(models.QuerySet["LegalHold"]):
    def open(self, tenant_id: UUID) -> LegalHoldQuerySet:
        """Those that keep this tenant's data from being purged or erased now, the oldest first."""
        return self.filter(tenant_id=tenant_id, released_at=None).order_by("created_at")


class LegalHold(models.Model):
    """While one is open, nothing of the tenant is purged or erased, whoever asks. Suspending and deleting keep data."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey("tenants.Tenant", on_delete=models.PROTECT, related_name="legal_holds")
    ground = models.CharField(max_length=200, help_text="The law or the case that asks for it; no person's name.")
    review_on = models.DateField(help_text="When somebody looks whether it is still needed.")
    placed_by = models.CharField(max_length=120)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    released_by = models.CharField(max_length=120, blank=True)
    released_at = models.DateTimeField(null=True, blank=True)
    release_reason = models.CharField(max_length=500, blank=True)

    objects = LegalHoldQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(released_at=None, released_by="") | (Q(released_at__isnull=False) & ~Q(released_by="")),
                name="hold_released_by_whom",
            ),
            models.CheckConstraint(condition=~Q(ground=""), name="hold_has_ground"),
        ]
        indexes: ClassVar = [models.Index(fields=["tenant"], condition=Q(released_at=None), name="hold_open")]

    def __str__(self) -> str:
        return self.ground

    @property
    def public_id(self) -> str:
        return public_id("hld", self.id)
