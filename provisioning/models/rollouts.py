"""The fan-out of one release over the fleet: what was approved, and one row for each target of it.

Targets are rows, never runs: a rollout's run drives a few lanes, and a lane claims, replays and records in batches.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, ClassVar

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from provisioning.models.paths import ReleasePath
from provisioning.models.releases import Release
from provisioning.models.runs import Run
from tenants.placement import public_id

if TYPE_CHECKING:
    from tenants.models import Placement


class RolloutState(models.TextChoices):
    """There is no `failed`: over its budget a rollout pauses itself, and a person decides."""

    DRAFT = "draft"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    CANCELLED = "cancelled"


OVER = (RolloutState.SUCCEEDED, RolloutState.CANCELLED)


class PauseReason(models.TextChoices):
    OPERATOR = "operator", "somebody paused it"
    ERROR_BUDGET = "error_budget", "more targets failed than it may cost"
    FAILURES_LEFT = "failures_left", "all waves are through, and some targets failed"
    VERIFICATION = "verification", "a target is not on the release that it was recorded on"


class TargetState(models.TextChoices):
    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"


OPEN_TARGETS = (TargetState.WAITING, TargetState.RUNNING)


def _one_of(field: str, choices: type[models.TextChoices]) -> Q:
    return Q(**{f"{field}__in": [str(value) for value in choices]})


class Rollout(models.Model):
    """One release to be reached by the fleet, or by a selection of it.

    `selection` is `{tier, region, cluster, plan, labels, slugs}`, each optional: a list of words, `labels` an object.
    `canary` is slugs; they are wave 0. `waves` is `[{"count": n} | {"percent": n}]`. `max_failures` is `{count,
    percent, classes: {"drift": n}}`, each optional. `window` is `{days: ["sat"], from: "22:00", to: "04:00"}` in UTC; a
    day is the one on which it opens. `plan` is what was proposed, and `plan_digest` its hash, which an approval names.
    `wave` is the one that lanes may take from now. `version` rises with every change and is the ETag of the API.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    release = models.ForeignKey(Release, on_delete=models.PROTECT, related_name="rollouts")
    selection = models.JSONField(default=dict, blank=True)
    canary = models.JSONField(default=list, blank=True)
    waves = models.JSONField(default=list)
    parallelism = models.PositiveSmallIntegerField(default=2, help_text="How many lanes work on one cluster at once.")
    lock_timeout_ms = models.PositiveIntegerField(default=2_000, help_text="How long one statement waits for a lock.")
    max_failures = models.JSONField(default=dict, blank=True)
    starts_at = models.DateTimeField(null=True, blank=True)
    window = models.JSONField(null=True, blank=True)
    state = models.CharField(max_length=16, choices=RolloutState.choices, default=RolloutState.DRAFT)
    pause_reason = models.CharField(max_length=24, choices=PauseReason.choices, default="", blank=True)
    pause_detail = models.CharField(max_length=500, default="", blank=True)
    wave = models.PositiveSmallIntegerField(default=0)
    last_wave = models.PositiveSmallIntegerField(default=0)
    plan = models.JSONField(default=dict, encoder=DjangoJSONEncoder)
    plan_digest = models.CharField(max_length=80, default="", blank=True)
    proposed_by = models.CharField(max_length=120)
    approved_by = models.CharField(max_length=120, default="", blank=True)
    single_operator = models.BooleanField(
        default=False, help_text="Approved by whoever proposed it, where the house allows that."
    )
    key = models.CharField(max_length=255, help_text="Of the request that proposed it: a repeat finds it again.")
    reason = models.CharField(max_length=500, default="", blank=True, help_text="Of the last act that needed one.")
    version = models.PositiveBigIntegerField(default=1)
    run = models.ForeignKey(Run, on_delete=models.PROTECT, null=True, related_name="+", help_text="The latest.")
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    approved_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["proposed_by", "key"], name="rollout_key_per_actor"),
            models.CheckConstraint(condition=_one_of("state", RolloutState), name="rollout_state_known"),
            models.CheckConstraint(
                condition=Q(state="paused") & _one_of("pause_reason", PauseReason)
                | ~Q(state="paused") & Q(pause_reason="", pause_detail=""),
                name="rollout_paused_says_why",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["draft", "cancelled"])
                | Q(approved_at__isnull=False) & ~Q(approved_by="") & ~Q(plan_digest=""),
                name="rollout_approved_by_digest",
            ),
            models.CheckConstraint(
                condition=Q(approved_by="") | Q(single_operator=True) | ~Q(approved_by=models.F("proposed_by")),
                name="rollout_approved_by_another",
            ),
            models.CheckConstraint(
                condition=Q(state__in=[str(s) for s in OVER], finished_at__isnull=False)
                | ~Q(state__in=[str(s) for s in OVER]) & Q(finished_at__isnull=True),
                name="rollout_over_says_when",
            ),
            models.CheckConstraint(condition=Q(parallelism__gte=1), name="rollout_parallelism_positive"),
            models.CheckConstraint(condition=Q(lock_timeout_ms__gte=1), name="rollout_lock_timeout_positive"),
            models.CheckConstraint(condition=Q(wave__lte=models.F("last_wave")), name="rollout_wave_exists"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["created_at", "id"], name="rollout_created"),
            models.Index(fields=["state"], condition=Q(finished_at=None), name="rollout_open"),
        ]
        permissions: ClassVar = [
            ("operate_rollout", "May propose, pause, resume and cancel rollouts"),
            ("approve_rollout", "May approve rollouts"),
        ]

    def __str__(self) -> str:
        return self.public_id

    @property
    def public_id(self) -> str:
        return public_id("rol", self.id)


class RolloutTarget(models.Model):
    """One thing to be taken along a path: a tenant with tables of its own, or a pool with all who live in it.

    `source` is the release it was on when it was frozen. `lane` and `fence` say who works on it while it is running:
    once that claim of that run has ended, any lane may take it over. `error` is `{class, code, detail, statement,
    migration, hint, sqlstate, difference}`, the last five where they are known. `blocked_by` is the operation it waits
    for, `blocked_since` when it began to. `cursor` is the replayer's own.
    """

    rollout = models.ForeignKey(Rollout, on_delete=models.CASCADE, related_name="targets", db_index=False)
    position = models.PositiveIntegerField()
    wave = models.PositiveSmallIntegerField()
    late = models.BooleanField(default=False, help_text="It joined after the approval.")
    tenant = models.ForeignKey("tenants.Tenant", on_delete=models.PROTECT, null=True, related_name="+", db_index=False)
    pool = models.ForeignKey("tenants.Pool", on_delete=models.PROTECT, null=True, related_name="+", db_index=False)
    cluster = models.ForeignKey("tenants.Cluster", on_delete=models.PROTECT, related_name="+", db_index=False)
    source = models.ForeignKey(Release, on_delete=models.PROTECT, related_name="+", db_index=False)
    path = models.ForeignKey(ReleasePath, on_delete=models.PROTECT, null=True, related_name="+", db_index=False)
    state = models.CharField(max_length=16, choices=TargetState.choices, default=TargetState.WAITING)
    attempts = models.PositiveIntegerField(default=0)
    not_before = models.DateTimeField(null=True)
    error = models.JSONField(null=True, encoder=DjangoJSONEncoder)
    blocked_by = models.UUIDField(null=True)
    blocked_since = models.DateTimeField(null=True)
    forgiven = models.BooleanField(
        default=False, help_text="It failed, and somebody let the rollout go on: it costs the budget nothing any more."
    )
    lane = models.ForeignKey(Run, on_delete=models.SET_NULL, null=True, related_name="+", db_index=False)
    fence = models.BigIntegerField(null=True)
    cursor = models.JSONField(null=True, encoder=DjangoJSONEncoder)
    reason = models.CharField(max_length=500, default="", blank=True, help_text="Why it is skipped.")
    seconds = models.FloatField(null=True, help_text="What its last replay took.")
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    place: Placement | None = None  # no column: where its tenant lives, as read by the lane that claimed it

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["rollout", "position"], name="rollouttarget_position"),
            models.UniqueConstraint(fields=["rollout", "tenant"], name="rollouttarget_tenant_once"),
            models.UniqueConstraint(fields=["rollout", "pool"], name="rollouttarget_pool_once"),
            models.UniqueConstraint(
                fields=["tenant"],
                condition=Q(state__in=[str(s) for s in OPEN_TARGETS]),
                name="rollouttarget_one_open_per_tenant",
            ),
            models.UniqueConstraint(
                fields=["pool"],
                condition=Q(state__in=[str(s) for s in OPEN_TARGETS]),
                name="rollouttarget_one_open_per_pool",
            ),
            models.CheckConstraint(
                condition=Q(tenant__isnull=False, pool__isnull=True) | Q(tenant__isnull=True, pool__isnull=False),
                name="rollouttarget_tenant_or_pool",
            ),
            models.CheckConstraint(condition=_one_of("state", TargetState), name="rollouttarget_state_known"),
            models.CheckConstraint(
                condition=~Q(state="failed") | Q(error__isnull=False), name="rollouttarget_failed_says_why"
            ),
            models.CheckConstraint(
                condition=~Q(state="skipped") | ~Q(reason=""), name="rollouttarget_skipped_says_why"
            ),
            models.CheckConstraint(
                condition=Q(state="running", fence__isnull=False) | ~Q(state="running") & Q(fence__isnull=True),
                name="rollouttarget_running_has_lane",
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["rollout", "cluster", "wave", "position"],
                condition=Q(state__in=[str(s) for s in OPEN_TARGETS]),
                name="rollouttarget_claim",
            ),
            models.Index(fields=["rollout", "wave", "state"], name="rollouttarget_counts"),
        ]

    def __str__(self) -> str:
        return f"{self.rollout_id} #{self.position}"
