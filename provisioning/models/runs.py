"""The rows of the workflow engine: what was accepted, how far it got, who holds it, and what happened on the way.

Only `provisioning.engine` writes them. Inputs, outputs, notes and errors hold references, never secrets.
"""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.core.serializers.json import DjangoJSONEncoder
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import ExpressionWrapper, F, Q
from django.db.models.functions import Now

from tenants.placement import public_id


class Queue(models.TextChoices):
    """Which workers drive a run. A queue of its own keeps a rollout from taking the last process of an operation."""

    OPERATIONS = "operations"
    FLEET = "fleet"


class RunState(models.TextChoices):
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    PARKED = "parked"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = (RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED)
HOLDING = (RunState.RUNNING, RunState.PAUSED, RunState.PARKED)  # these keep their lock_key; queued runs hold nothing


class Direction(models.TextChoices):
    DO = "do"
    UNDO = "undo"


class Control(models.TextChoices):
    """What a person asked for; obeyed at the next boundary between two steps."""

    PAUSE = "pause"
    CANCEL = "cancel"


class StepState(models.TextChoices):
    PENDING = "pending"
    STARTED = "started"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    SKIPPED = "skipped"
    FAILED = "failed"


class EventKind(models.TextChoices):
    STARTED = "started"
    FAILED = "failed"
    CRASHED = "crashed"
    PARKED = "parked"
    TURNED_BACK = "turned_back"
    ENDED = "ended"
    PAUSE_REQUESTED = "pause_requested"
    RESUMED = "resumed"
    CANCEL_REQUESTED = "cancel_requested"
    RETRIED = "retried"
    SKIPPED = "skipped"
    UNDO_REQUESTED = "undo_requested"
    FORCE_COMPLETED = "force_completed"


def _one_of(field: str, choices: type[models.TextChoices]) -> Q:
    return Q(**{f"{field}__in": [str(value) for value in choices]})


class Run(models.Model):
    """One run of a workflow; API and admin show it as an operation.

    A running row with a lease is being driven; one without a lease waits for `run_at`. `step` is the cursor.
    `attempts` and `crashes` count for that step and since its last progress. `fence` rises with every claim.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    workflow = models.CharField(max_length=80)
    version = models.PositiveIntegerField()
    queue = models.CharField(max_length=16, choices=Queue.choices)
    priority = models.PositiveSmallIntegerField(default=3, help_text="1 is served first, 5 last.")
    parent = models.ForeignKey("self", on_delete=models.PROTECT, null=True, related_name="children", db_index=False)
    tenant = models.ForeignKey(
        "tenants.Tenant", on_delete=models.PROTECT, null=True, related_name="runs", db_index=False
    )
    lock_key = models.CharField(max_length=120, null=True)  # noqa: DJ001  null: holds nothing
    limit_key = models.CharField(max_length=120, null=True)  # noqa: DJ001  null: unlimited
    fair_key = models.CharField(max_length=120, help_text="Who shares the workers with whom: the actor, or the parent.")
    input = models.JSONField(default=dict, encoder=DjangoJSONEncoder)
    state = models.CharField(max_length=16, choices=RunState.choices, default=RunState.QUEUED)
    direction = models.CharField(max_length=8, choices=Direction.choices, default=Direction.DO)
    control = models.CharField(max_length=8, choices=Control.choices, null=True)  # noqa: DJ001  null: nobody asked
    step = models.CharField(max_length=80)
    attempts = models.PositiveIntegerField(default=0)
    crashes = models.PositiveIntegerField(default=0)
    pivoted = models.BooleanField(default=False)
    fence = models.BigIntegerField(null=True)
    owner = models.CharField(max_length=120, default="", blank=True)
    lease_until = models.DateTimeField(null=True)
    run_at = models.DateTimeField(db_default=Now())
    deadline_at = models.DateTimeField(null=True)
    error = models.JSONField(null=True, encoder=DjangoJSONEncoder)
    forced = models.BooleanField(default=False)
    reason = models.CharField(max_length=500, default="", blank=True)
    actor = models.CharField(max_length=120)
    key = models.CharField(max_length=255)
    request_id = models.CharField(max_length=64, default="", blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["lock_key"],
                condition=Q(parent__isnull=True, finished_at__isnull=True),
                name="run_one_open_operation_per_lock",
            ),
            models.UniqueConstraint(
                fields=["lock_key"], condition=Q(state__in=[str(s) for s in HOLDING]), name="run_one_holder_per_lock"
            ),
            models.UniqueConstraint(fields=["actor", "key"], name="run_key_per_actor"),
            models.UniqueConstraint(fields=["fence"], name="run_fence_unique"),
            models.CheckConstraint(condition=_one_of("queue", Queue), name="run_queue_known"),
            models.CheckConstraint(condition=_one_of("state", RunState), name="run_state_known"),
            models.CheckConstraint(condition=_one_of("direction", Direction), name="run_direction_known"),
            models.CheckConstraint(
                condition=Q(control__isnull=True) | _one_of("control", Control), name="run_control_known"
            ),
            models.CheckConstraint(condition=Q(priority__gte=1, priority__lte=5), name="run_priority_1_to_5"),
            models.CheckConstraint(
                condition=Q(lease_until__isnull=True, owner="")
                | (Q(lease_until__isnull=False, fence__isnull=False, state="running") & ~Q(owner="")),
                name="run_lease_whole_and_running",
            ),
            models.CheckConstraint(
                condition=Q(state__in=[str(s) for s in ENDED], finished_at__isnull=False, deadline_at__isnull=True)
                | (~Q(state__in=[str(s) for s in ENDED]) & Q(finished_at__isnull=True, deadline_at__isnull=False)),
                name="run_open_has_deadline",
            ),
            models.CheckConstraint(condition=~Q(pivoted=True, direction="undo"), name="run_pivoted_goes_forward"),
            models.CheckConstraint(condition=~Q(state="parked") | Q(error__isnull=False), name="run_parked_says_why"),
            models.CheckConstraint(condition=Q(forced=False) | ~Q(reason=""), name="run_forced_says_why"),
            models.CheckConstraint(
                condition=Q(forced=True)
                | (
                    (~Q(state="succeeded") | Q(direction="do"))
                    & (~Q(state="failed") | Q(direction="undo"))
                    & (~Q(state="cancelled") | Q(direction="undo") | Q(fence__isnull=True))
                ),
                name="run_end_is_true",
            ),
        ]
        indexes: ClassVar = [
            models.Index(
                F("queue"),
                F("fair_key"),
                F("priority"),
                ExpressionWrapper(Q(state="queued"), output_field=models.BooleanField()),
                F("run_at"),
                condition=Q(state__in=["queued", "running"]),
                name="run_claim",
            ),
            models.Index(fields=["limit_key"], condition=Q(lease_until__isnull=False), name="run_driven_per_limit"),
            models.Index(fields=["parent", "state"], name="run_children"),
            models.Index(fields=["tenant", "created_at"], name="run_of_tenant"),
        ]

    def __str__(self) -> str:
        return f"{self.workflow} {self.public_id}"

    @property
    def public_id(self) -> str:
        return public_id("op", self.id)

    @property
    def held(self) -> bool:
        """Whether the row, as last read, carries a lease."""
        return self.lease_until is not None

    @property
    def ended(self) -> bool:
        return self.state in ENDED


class RunStep(models.Model):
    """One step of a run in one direction: all `do` rows are written at the start, `undo` rows when the run turns back.

    `skippable` and `pivot` are copied from the workflow, so that a door can say what may be done without its code.
    `attempts` and `crashes` are totals. `position` is the step's place in the workflow, in either direction.
    """

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="steps", db_index=False)
    position = models.PositiveSmallIntegerField()
    name = models.CharField(max_length=80)
    direction = models.CharField(max_length=8, choices=Direction.choices, default=Direction.DO)
    state = models.CharField(max_length=16, choices=StepState.choices, default=StepState.PENDING)
    skippable = models.BooleanField(default=False)
    pivot = models.BooleanField(default=False)
    attempts = models.PositiveIntegerField(default=0)
    crashes = models.PositiveIntegerField(default=0)
    fence = models.BigIntegerField(null=True)
    cursor = models.JSONField(null=True, encoder=DjangoJSONEncoder)
    note = models.CharField(max_length=500, default="", blank=True)
    output = models.JSONField(default=dict, encoder=DjangoJSONEncoder)
    reason = models.CharField(max_length=500, default="", blank=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["run", "direction", "name"], name="runstep_once"),
            models.UniqueConstraint(
                fields=["run"], condition=Q(state__in=["started", "waiting"]), name="runstep_one_open"
            ),
            models.CheckConstraint(condition=_one_of("direction", Direction), name="runstep_direction_known"),
            models.CheckConstraint(condition=_one_of("state", StepState), name="runstep_state_known"),
            models.CheckConstraint(condition=~Q(state="skipped") | ~Q(reason=""), name="runstep_skipped_says_why"),
        ]

    def __str__(self) -> str:
        return f"{self.direction} {self.name}"


class RunEvent(models.Model):
    """What happened to a run, append-only: failures, crashes, stops, and every act of a person."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="events", db_index=False)
    step = models.CharField(max_length=80)
    direction = models.CharField(max_length=8, choices=Direction.choices)
    fence = models.BigIntegerField(null=True)
    owner = models.CharField(max_length=120, default="", blank=True)
    kind = models.CharField(max_length=24, choices=EventKind.choices)
    began_at = models.DateTimeField(null=True)
    at = models.DateTimeField(db_default=Now())
    detail = models.CharField(max_length=1000, default="", blank=True)
    actor = models.CharField(max_length=120, default="", blank=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=_one_of("direction", Direction), name="runevent_direction_known"),
            models.CheckConstraint(condition=_one_of("kind", EventKind), name="runevent_kind_known"),
        ]
        indexes: ClassVar = [models.Index(fields=["run", "id"], name="runevent_of_run")]

    def __str__(self) -> str:
        return f"{self.kind} {self.step}"


class RunLimit(models.Model):
    """How many runs with one `limit_key` may be driven at once. A key without a row is not limited."""

    key = models.CharField(max_length=120, primary_key=True)
    max_running = models.PositiveIntegerField(validators=[MinValueValidator(1)])

    class Meta:
        constraints: ClassVar = [models.CheckConstraint(condition=Q(max_running__gte=1), name="runlimit_at_least_one")]

    def __str__(self) -> str:
        return f"{self.key}: {self.max_running}"


class QueuePulse(models.Model):
    """When somebody last looked for work of a queue; renewed every 10 s at most."""

    queue = models.CharField(max_length=16, choices=Queue.choices, primary_key=True)
    looked_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return self.queue


class IdempotencyKey(models.Model):
    """The stored answer to one request of the API. Visible only once it is complete: no state "in progress" can stick.

    `fingerprint` is 32 bytes of SHA-256. `run` is empty for requests that start nothing.
    """

    pk = models.CompositePrimaryKey("principal", "key")
    principal = models.CharField(max_length=120)
    key = models.CharField(max_length=255)
    fingerprint = models.BinaryField(max_length=32)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, null=True, related_name="+")
    status = models.PositiveSmallIntegerField(default=0)
    headers = models.JSONField(default=dict)
    body = models.BinaryField(default=b"")
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    expires_at = models.DateTimeField()

    class Meta:
        indexes: ClassVar = [models.Index(fields=["expires_at"], name="idempotencykey_expiry")]

    def __str__(self) -> str:
        return f"{self.principal} {self.key}"
