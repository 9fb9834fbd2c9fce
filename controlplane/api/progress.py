"""How far an operation has come, and whether it has come to a standstill."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import F, Max, Q, QuerySet
from django.db.models.functions import Coalesce, Greatest
from django.utils import timezone

from controlplane.standstill import patience
from provisioning.models import ENDED, Direction, Run, RunState, RunStep, StepState

STEPS_LOOKED_AT = 1_000  # the latest that succeeded, of all workflows: enough to know what is usual

Place = tuple[str, str, str]
"""Workflow, direction and step: what a usual time is the usual time of."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Steps that are done (or skipped) in the direction the run goes, out of all, and when it last got on."""

    completed: int
    total: int
    phase: str
    updated_at: datetime


def progress_of(run: Run, steps: Sequence[RunStep]) -> Progress:
    """`steps` are the run's, of both directions."""
    mine = [step for step in steps if step.direction == run.direction]
    moments = [moment for step in steps for moment in (step.started_at, step.finished_at) if moment]
    return Progress(
        completed=sum(step.state in {StepState.SUCCEEDED, StepState.SKIPPED} for step in mine),
        total=len(mine),
        phase="" if run.ended else run.step,
        updated_at=max([run.created_at, *moments]),
    )


def usual_times() -> dict[Place, timedelta]:
    """How long each step usually takes: the median of those that succeeded lately."""
    lately = (
        RunStep.objects.filter(state=StepState.SUCCEEDED, started_at__isnull=False, finished_at__isnull=False)
        .order_by("-pk")
        .values_list("run__workflow", "direction", "name", "started_at", "finished_at")[:STEPS_LOOKED_AT]
    )
    times: defaultdict[Place, list[timedelta]] = defaultdict(list)
    for workflow, direction, name, started, finished in lately:
        if started and finished:
            times[workflow, direction, name].append(finished - started)
    return {place: sorted(found)[len(found) // 2] for place, found in times.items()}


def stalled(run: Run, progress: Progress, usual: Mapping[Place, timedelta], *, now: datetime | None = None) -> bool:
    """Its deadline has passed, or it runs and has not got on for longer than is usual: see `patience`."""
    now = now or timezone.now()
    if run.ended:
        return False
    if run.deadline_at is not None and run.deadline_at < now:
        return True
    usually = usual.get((run.workflow, run.direction, run.step))
    if run.state != RunState.RUNNING or usually is None:
        return False
    return now - progress.updated_at > patience(usually)


def stalled_runs(runs: QuerySet[Run]) -> QuerySet[Run]:
    """Those of `runs` that `stalled` is true of, found by the database."""
    now = timezone.now()
    slow = Q(pk__in=[])
    for (workflow, direction, step), usually in usual_times().items():
        place = Q(workflow=workflow, direction=direction, step=step)
        slow |= place & Q(state=RunState.RUNNING, got_on_at__lt=now - patience(usually))
    got_on = Greatest(
        F("created_at"),
        Coalesce(Max("steps__started_at"), F("created_at")),
        Coalesce(Max("steps__finished_at"), F("created_at")),
    )
    return runs.exclude(state__in=ENDED).annotate(got_on_at=got_on).filter(Q(deadline_at__lt=now) | slow)


def in_order(steps: Sequence[RunStep]) -> list[RunStep]:
    """As they happen: the steps forward, then those of the undo, from the last to the first."""
    forward = sorted((step for step in steps if step.direction == Direction.DO), key=lambda step: step.position)
    back = sorted((step for step in steps if step.direction == Direction.UNDO), key=lambda step: -step.position)
    return [*forward, *back]
