"""A rollout as the API shows it: what was asked, how far it is, what it cost, and what may be done about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any
from uuid import UUID

from django.db.models import Count, Q, QuerySet
from django.utils import timezone
from rest_framework import serializers

from controlplane.api.bodies import Json
from controlplane.api.fields import Constant, PublicId
from controlplane.api.operation_shape import names_of, requester
from controlplane.api.rollout_plan_shape import RolloutPlanShape, plan_values
from controlplane.api.rollout_request import MS
from controlplane.api.rollout_terms_shape import MaxFailuresShape, SelectionShape, WaveSizeShape, WindowShape
from provisioning import lifecycle
from provisioning.databases.releases import TEXTS
from provisioning.models import PauseReason, Rollout, RolloutState, RolloutTarget, TargetState
from provisioning.rollout.budget import Budget
from provisioning.rollout.eta import eta_of
from provisioning.rollout.progress import WaveProgress, toll_of
from tenants.placement import public_id

PEOPLE = ("principal", "api_key", "user", "command", "system")
STATES = [str(state) for state in TargetState]


class PersonShape(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(choices=[*PEOPLE], help_text="`principal`: the owner of the API key that called.")
    id = serializers.CharField()
    name = serializers.CharField(help_text="For people to read; may change.")


class CountsShape(serializers.Serializer[Any]):
    """Targets by state; `late` of them joined after the approval."""

    targets = serializers.IntegerField(min_value=0)
    waiting = serializers.IntegerField(min_value=0)
    running = serializers.IntegerField(min_value=0)
    succeeded = serializers.IntegerField(min_value=0)
    failed = serializers.IntegerField(min_value=0)
    skipped = serializers.IntegerField(min_value=0)
    late = serializers.IntegerField(min_value=0)


class WaveCountsShape(CountsShape):
    wave = serializers.IntegerField(min_value=0, help_text="0 is the canaries.")


class Classed(serializers.Serializer[Any]):
    """Of a class of error."""

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        named = serializers.CharField(help_text="Such as lock timeout, data error, lost connection, drift, other.")
        return {"class": named, **super().get_fields()}  # a word of Python's, so no attribute can be called that


class FailureGroupShape(Classed):
    """Failed targets with one class, code and statement."""

    code = serializers.CharField()
    detail = serializers.CharField(allow_blank=True)
    statement = serializers.CharField(allow_blank=True)
    migration = serializers.CharField(allow_blank=True)
    hint = serializers.CharField(allow_blank=True, help_text="What to do about it.")
    targets = serializers.IntegerField(min_value=1)


class ClassBudgetShape(Classed):
    failed = serializers.IntegerField(min_value=0)
    most = serializers.IntegerField(min_value=0, allow_null=True, help_text="Null: only the total counts.")


class BudgetShape(serializers.Serializer[Any]):
    """What failed and counts, beside what may fail: one more than that pauses the rollout. Null: no such limit."""

    failed = serializers.IntegerField(min_value=0, help_text="In all waves; without those a person has forgiven.")
    count = serializers.IntegerField(min_value=0, allow_null=True)
    failed_in_wave = serializers.IntegerField(min_value=0)
    wave_targets = serializers.IntegerField(min_value=0)
    percent = serializers.FloatField(min_value=0, allow_null=True)
    classes = ClassBudgetShape(many=True)


class EtaShape(serializers.Serializer[Any]):
    earliest = serializers.DateTimeField()
    latest = serializers.DateTimeField()


class RolloutSummaryShape(serializers.Serializer[Any]):
    """A rollout as lists show it."""

    id = PublicId("rol")
    object = Constant("rollout")
    release = serializers.CharField(help_text="Where it leads.")
    state = serializers.ChoiceField(choices=RolloutState.choices)
    pause_reason = serializers.ChoiceField(choices=PauseReason.choices, allow_null=True)
    pause_detail = serializers.CharField(allow_null=True, help_text="In a sentence, why it is paused.")
    wave = serializers.IntegerField(min_value=0, help_text="The one that is open now; 0 is the canaries.")
    last_wave = serializers.IntegerField(min_value=0)
    counts = CountsShape()
    proposed_by = PersonShape()
    approved_by = PersonShape(allow_null=True)
    single_operator = serializers.BooleanField(help_text="One person proposed and approved it, as the house allows.")
    version = serializers.IntegerField(min_value=1, help_text="The ETag.")
    actions = serializers.ListField(
        child=serializers.CharField(), help_text="What may be done now: a POST to /rollouts/{id}/… each."
    )
    created_at = serializers.DateTimeField()
    approved_at = serializers.DateTimeField(allow_null=True)
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)


class RolloutShape(RolloutSummaryShape):
    """One release to be reached by the fleet, or by a part of it."""

    filter = SelectionShape()
    canary = serializers.ListField(child=serializers.CharField())
    waves = WaveSizeShape(many=True)
    parallelism = serializers.IntegerField(min_value=1)
    max_failures = MaxFailuresShape()
    lock_timeout_s = serializers.FloatField(min_value=0)
    starts_at = serializers.DateTimeField(allow_null=True)
    window = WindowShape(allow_null=True)
    progress = WaveCountsShape(many=True, help_text="Wave by wave; empty before the approval.")
    failures = FailureGroupShape(many=True, help_text="The most frequent first.")
    budget = BudgetShape()
    eta = EtaShape(allow_null=True, help_text="Null while it does not run, or too little is done to say.")
    operation = serializers.CharField(allow_null=True, help_text="The id of the operation that drives it.")
    reason = serializers.CharField(allow_null=True, help_text="Of the last act that needed one.")
    plan = RolloutPlanShape(help_text="What was proposed; frozen by the approval.")


def rollout_json(row: Rollout) -> Json:
    """The JSON of one rollout, with everything that is known of it. The row is as fresh as the answer shall be."""
    progress = lifecycle.progress_of(row)
    eta = eta_of(row, now=timezone.now())
    values = {
        **_summary(row, _counts(progress.total), names_of({row.proposed_by, row.approved_by})),
        "filter": row.selection,
        "canary": row.canary,
        "waves": row.waves,
        "parallelism": row.parallelism,
        "max_failures": row.max_failures,
        "lock_timeout_s": row.lock_timeout_ms / MS,
        "starts_at": row.starts_at,
        "window": row.window,
        "progress": [{"wave": wave.number, **_counts(wave)} for wave in progress.waves],
        "failures": [{**asdict(group), "class": group.budget_class} for group in progress.failures],
        "budget": _budget(row),
        "eta": asdict(eta) if eta else None,
        "operation": public_id("op", row.run_id) if row.run_id else None,
        "reason": row.reason or None,
        "plan": plan_values(row.plan),
    }
    return dict(RolloutShape(values).data)


def rollouts(rows: Sequence[Rollout]) -> list[Json]:
    """The JSON of a page of rollouts: their counts come from one query."""
    counted = _counts_of([row.pk for row in rows])
    names = names_of({actor for row in rows for actor in (row.proposed_by, row.approved_by)})
    return [dict(RolloutSummaryShape(_summary(row, counted.get(row.pk, NONE), names)).data) for row in rows]


def readable_rollouts() -> QuerySet[Rollout]:
    """Without what is megabytes and no answer shows."""
    texts = [f"release__{name}" for name in TEXTS]
    found: QuerySet[Rollout] = Rollout.objects.select_related("release").defer(*texts)
    return found


def _summary(row: Rollout, counts: Mapping[str, int], names: Mapping[str, str]) -> Json:
    alike = ("id", "state", "wave", "last_wave", "single_operator", "version")
    moments = ("created_at", "approved_at", "started_at", "finished_at")
    return {
        **{name: getattr(row, name) for name in (*alike, *moments)},
        "object": "rollout",
        "release": row.release.name,
        "pause_reason": row.pause_reason or None,
        "pause_detail": row.pause_detail or None,
        "counts": counts,
        "proposed_by": requester(row.proposed_by, names),
        "approved_by": requester(row.approved_by, names) if row.approved_by else None,
        "actions": lifecycle.actions_of_rollout(row),
    }


def _counts(wave: WaveProgress) -> dict[str, int]:
    return {"targets": wave.total, "late": wave.late, **{state: getattr(wave, state) for state in STATES}}


NONE = _counts(WaveProgress(0))


def _counts_of(ids: Sequence[UUID]) -> dict[UUID, dict[str, int]]:
    states = {state: Count("pk", filter=Q(state=state)) for state in STATES}
    counted = RolloutTarget.objects.filter(rollout__in=ids).order_by().values("rollout")
    rows: Iterable[Any] = counted.annotate(targets=Count("pk"), late_ones=Count("pk", filter=Q(late=True)), **states)
    return {
        row["rollout"]: {"late": row["late_ones"], **{name: row[name] for name in ("targets", *STATES)}} for row in rows
    }


def _budget(row: Rollout) -> Json:
    budget, toll = Budget.of(row.max_failures), toll_of(row)
    named = sorted({*budget.classes, *toll.failed})
    return {
        "failed": toll.total,
        "count": budget.count,
        "failed_in_wave": toll.failed_in_wave,
        "wave_targets": toll.wave_size,
        "percent": budget.percent,
        "classes": [
            {"class": name, "failed": toll.failed.get(name, 0), "most": budget.classes.get(name)} for name in named
        ],
    }
