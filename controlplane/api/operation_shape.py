"""An operation as the API shows it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db.models import Count, Prefetch, QuerySet
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from controlplane.api.bodies import Json
from controlplane.api.fields import PublicId, id_schema
from controlplane.api.progress import in_order, progress_of, stalled, usual_times
from controlplane.models import ApiKey
from provisioning import lifecycle
from provisioning.models import HOLDING, Control, Direction, Run, RunLimit, RunState, RunStep, StepState
from provisioning.workflows import WORKFLOWS
from tenants.placement import public_id

OF_FLEET = ("rollout", "drift")  # what is about no single tenant is called by its own name
TYPES = {
    f"{'' if name.startswith(OF_FLEET) else 'tenant.'}{name.replace(' ', '_')}": name for name, _version in WORKFLOWS
}
NAMES = {workflow: type_ for type_, workflow in TYPES.items()}
KEY_ACTOR, USER_ACTOR = re.compile(r"api_key:[0-9a-f-]{32,36}"), re.compile(r"user:[0-9]{1,18}")


class StepShape(serializers.ModelSerializer[RunStep]):
    detail = serializers.SerializerMethodField(help_text="What a progress bar shows, or why it was skipped.")
    state = serializers.ChoiceField(choices=StepState.choices, read_only=True)
    direction = serializers.ChoiceField(choices=Direction.choices, read_only=True)

    class Meta:
        model = RunStep
        fields = (
            "name",
            "direction",
            "state",
            "attempts",
            "crashes",
            "skippable",
            "pivot",
            "started_at",
            "finished_at",
            "detail",
        )
        read_only_fields = fields

    def get_detail(self, step: RunStep) -> str | None:
        return step.reason or step.note or None


class ProgressShape(serializers.Serializer[Any]):
    completed = serializers.IntegerField(min_value=0)
    total = serializers.IntegerField(min_value=0)
    unit = serializers.CharField(default="steps")
    phase = serializers.CharField(allow_blank=True, help_text="The step it is at; empty once it is done.")
    updated_at = serializers.DateTimeField(help_text="When it last got on.")


class CauseShape(serializers.Serializer[Any]):
    """What went wrong, for an operator: the real cause, never a row's value or a secret."""

    code = serializers.CharField()
    detail = serializers.CharField(allow_blank=True)
    hint = serializers.CharField(allow_blank=True, help_text="What to do about it.")
    step = serializers.CharField(allow_null=True)
    attempts = serializers.IntegerField(min_value=0)
    retryable = serializers.BooleanField()


class ResultShape(serializers.Serializer[Any]):
    tenant = serializers.CharField(allow_null=True, help_text="The id of the tenant it was about.")


class BlockShape(serializers.Serializer[Any]):
    """What a queued operation waits for."""

    kind = serializers.ChoiceField(choices=["operation", "limit"])
    id = serializers.CharField(help_text="The id of the operation, or the name of the limit, such as cluster:eu-1.")


class RequesterShape(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(choices=["api_key", "user", "command", "system"])
    id = serializers.CharField()
    name = serializers.CharField(help_text="For people to read; may change.")


class OperationShape(serializers.ModelSerializer[Run]):
    """One run of a workflow: what was asked, how far it got, what may be done about it."""

    id = PublicId("op")
    object = serializers.SerializerMethodField()
    type = serializers.SerializerMethodField()
    target = serializers.SerializerMethodField(help_text="The address of the tenant it is about.")
    workflow_version = serializers.IntegerField(source="version", read_only=True)
    state = serializers.ChoiceField(choices=RunState.choices, read_only=True)
    direction = serializers.ChoiceField(choices=Direction.choices, read_only=True)
    control = serializers.ChoiceField(choices=Control.choices, read_only=True, allow_null=True)
    done = serializers.BooleanField(source="ended", read_only=True)
    stalled = serializers.SerializerMethodField(help_text="Past its deadline, or much slower than usual.")
    next_attempt_at = serializers.SerializerMethodField()
    progress = serializers.SerializerMethodField()
    steps = serializers.SerializerMethodField()
    result = serializers.SerializerMethodField(help_text="Set when it succeeded.")
    error = serializers.SerializerMethodField(help_text="Set when it failed, was cancelled, or waits for a person.")
    blocked_by = serializers.SerializerMethodField()
    actions = serializers.SerializerMethodField(help_text="What may be done now, each a POST to /operations/{id}/….")
    requested_by = serializers.SerializerMethodField()
    reason = serializers.SerializerMethodField()
    request_id = serializers.SerializerMethodField()

    class Meta:
        model = Run
        fields = (
            "id",
            "object",
            "type",
            "target",
            "workflow_version",
            "state",
            "direction",
            "control",
            "done",
            "stalled",
            "created_at",
            "started_at",
            "finished_at",
            "deadline_at",
            "next_attempt_at",
            "progress",
            "steps",
            "result",
            "error",
            "blocked_by",
            "actions",
            "requested_by",
            "reason",
            "request_id",
        )
        read_only_fields = fields

    @extend_schema_field({"type": "string", "const": "operation"})
    def get_object(self, _run: Run) -> str:
        return "operation"

    @extend_schema_field({"type": "string", "examples": list(TYPES)})
    def get_type(self, run: Run) -> str:
        return NAMES.get(run.workflow, run.workflow)

    def get_target(self, run: Run) -> str | None:
        return f"/api/v1/tenants/{public_id('ten', run.tenant_id)}" if run.tenant_id else None

    def get_stalled(self, run: Run) -> bool:
        return stalled(run, progress_of(run, _steps(run)), self.context["usual"])

    @extend_schema_field(serializers.DateTimeField(allow_null=True))
    def get_next_attempt_at(self, run: Run) -> Any:
        waiting = run.state in {RunState.QUEUED, RunState.RUNNING} and not run.held
        return serializers.DateTimeField().to_representation(run.run_at) if waiting else None

    @extend_schema_field(ProgressShape)
    def get_progress(self, run: Run) -> Json:
        progress = progress_of(run, _steps(run))
        return dict(
            ProgressShape(
                {
                    "completed": progress.completed,
                    "total": progress.total,
                    "unit": "steps",
                    "phase": progress.phase,
                    "updated_at": progress.updated_at,
                }
            ).data
        )

    @extend_schema_field(StepShape(many=True))
    def get_steps(self, run: Run) -> list[Json]:
        return [dict(StepShape(step).data) for step in in_order(_steps(run))]

    @extend_schema_field(ResultShape(allow_null=True))
    def get_result(self, run: Run) -> Json | None:
        if run.state != RunState.SUCCEEDED:
            return None
        return {"tenant": public_id("ten", run.tenant_id) if run.tenant_id else None}

    @extend_schema_field(CauseShape(allow_null=True))
    def get_error(self, run: Run) -> Json | None:
        if run.state == RunState.SUCCEEDED:
            return None
        if run.error is None and run.state in {RunState.CANCELLED, RunState.FAILED}:
            detail = run.reason or "A person ended it."
            return _cause({"code": f"{run.state.upper()}", "detail": detail, "step": run.step})
        return None if run.error is None else _cause(run.error)

    @extend_schema_field(BlockShape(allow_null=True))
    def get_blocked_by(self, run: Run) -> Json | None:
        block: Json | None = self.context["blocks"].get(run.pk)
        return block

    def get_actions(self, run: Run) -> list[str]:
        return [str(action) for action in lifecycle.actions_of(run) if action != "force_complete"]

    @extend_schema_field(RequesterShape)
    def get_requested_by(self, run: Run) -> Json:
        return requester(run.actor, self.context["names"])

    def get_reason(self, run: Run) -> str | None:
        return run.reason or None

    def get_request_id(self, run: Run) -> str | None:
        return run.request_id or None


def readable_runs() -> QuerySet[Run]:
    return Run.objects.prefetch_related(Prefetch("steps", queryset=RunStep.objects.order_by("pk")))


def operations(runs: Sequence[Run]) -> list[Json]:
    """The JSON of operations, which come from `readable_runs()`."""
    open_ones = [run for run in runs if not run.ended]
    context = {
        "usual": usual_times() if any(run.state == RunState.RUNNING for run in open_ones) else {},
        "blocks": blocks_of([run for run in open_ones if run.state == RunState.QUEUED]),
        "names": names_of({run.actor for run in runs}),
    }
    return [dict(OperationShape(run, context=context).data) for run in runs]


def operation_json(run: Run) -> Json:
    """The JSON of one operation, read afresh."""
    return operations([readable_runs().get(pk=run.pk)])[0]


def blocks_of(queued: Sequence[Run]) -> dict[UUID, Json]:
    """What stands in the way of queued runs: whoever holds their lock, or a limit that is full."""
    locks = {run.lock_key for run in queued if run.lock_key}
    holders = dict(Run.objects.filter(lock_key__in=locks, state__in=HOLDING).values_list("lock_key", "pk"))
    limits = {run.limit_key for run in queued if run.limit_key}
    most = dict(RunLimit.objects.filter(key__in=limits).values_list("key", "max_running"))
    driven = Run.objects.filter(limit_key__in=limits, lease_until__isnull=False).order_by()
    busy = dict(driven.values_list("limit_key").annotate(Count("pk")))
    blocks: dict[UUID, Json] = {}
    for run in queued:
        if run.lock_key in holders:
            blocks[run.pk] = {"kind": "operation", "id": public_id("op", holders[run.lock_key])}
        elif run.limit_key in most and busy.get(run.limit_key, 0) >= most[run.limit_key]:
            blocks[run.pk] = {"kind": "limit", "id": run.limit_key}
    return blocks


def requester(actor: str, names: Mapping[str, str]) -> Json:
    """RequesterShape of the actor `kind:id`; `names` are those that `names_of` found."""
    kind, _, identity = actor.partition(":")
    shown = f"key_{identity.replace('-', '')}" if kind == "api_key" else identity
    return {"kind": kind, "id": shown, "name": names.get(actor, shown)}


def names_of(actors: set[str]) -> dict[str, str]:
    """What people call the actors `kind:id`; those without a name of their own are left out."""
    known: dict[str, str] = {}
    keys = {UUID(actor[8:]): actor for actor in actors if KEY_ACTOR.fullmatch(actor)}
    users = {int(actor[5:]): actor for actor in actors if USER_ACTOR.fullmatch(actor)}
    if keys:
        known |= {keys[pk]: name for pk, name in ApiKey.objects.filter(pk__in=keys).values_list("pk", "name")}
    if users:
        known |= {users[user.pk]: user.get_username() for user in get_user_model().objects.filter(pk__in=users)}
    return known


def _steps(run: Run) -> list[RunStep]:
    return list(run.steps.all())  # prefetched


def _cause(error: Json) -> Json:
    return {
        "code": error["code"],
        "detail": error.get("detail", ""),
        "hint": error.get("hint", ""),
        "step": error.get("step") or None,
        "attempts": error.get("attempts", 0),
        "retryable": error.get("retryable", False),
    }


OPERATION_ID = id_schema("op")
