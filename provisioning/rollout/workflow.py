"""The run of a rollout: it sees to it that lanes work, and ends when the rollout stands still or is over."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from provisioning.engine.children import Child, spawn
from provisioning.engine.rows import answer, listed
from provisioning.engine.workflow import AT_ONCE, Again, Done, Outcome, Step, StepContext, Workflow
from provisioning.models import OPEN_TARGETS, Queue, Rollout, RolloutState, RolloutTarget, TargetState
from provisioning.rollout.lanes import AS_LONG_AS_IT_TAKES, LANE, LaneInput, rollout_of
from provisioning.rollout.settling import settle
from provisioning.rollout.window import opens
from tenants.models import Cluster

OPEN_IN = """
id IN (SELECT cluster_id FROM provisioning_rollouttarget WHERE rollout_id = %s AND state IN ('waiting', 'running'))
AND id <> ALL (%s) ORDER BY name
"""
SAID = """
SELECT count(*) FILTER (WHERE state NOT IN ('waiting', 'running')), count(*)
FROM provisioning_rollouttarget WHERE rollout_id = %s AND wave = %s
"""
LOOKS_EVERY, LONGEST_WAIT = timedelta(seconds=5), timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class RolloutInput:
    """Which one."""

    rollout_id: UUID


def run_the_waves(ctx: StepContext) -> Outcome:
    """Lanes for each cluster with something to do; others when the former have ended, or late targets came."""
    rollout, cursor = rollout_of(ctx.input.rollout_id), ctx.cursor or {"times": 0}
    working = {UUID(lane.input["cluster_id"]) for lane in ctx.run.children.filter(finished_at=None).only("input")}
    if rollout.state != RolloutState.RUNNING:
        return Again(LOOKS_EVERY, cursor=cursor, note="Lanes end.") if working else Done({"state": rollout.state})
    if at := opens(timezone.now(), starts_at=rollout.starts_at, window=rollout.window):
        return Again(min(at - timezone.now(), LONGEST_WAIT), cursor=cursor, note=_waits(at))
    if not working and settle(ctx, rollout):
        return Again(AT_ONCE, cursor=cursor)
    if lanes := _lanes(rollout, cursor["times"] + 1, beside=working):
        cursor = {"times": cursor["times"] + 1}
        spawn(ctx, LANE, lanes)
        Rollout.objects.filter(pk=rollout.pk, started_at=None).update(started_at=Now())
    return Again(LOOKS_EVERY, cursor=cursor, note=_said(rollout))


def stand_still(ctx: StepContext) -> Outcome:
    """What lanes gave back to a rollout that was cancelled meanwhile is not open any more."""
    cancelled = Rollout.objects.filter(pk=ctx.input.rollout_id, state=RolloutState.CANCELLED)
    skip_open(cancelled)
    return Done()


def skip_open(cancelled: QuerySet[Rollout]) -> None:
    """The targets of rollouts that were cancelled, whoever had them: another rollout may have them now."""
    RolloutTarget.objects.filter(rollout__in=cancelled, state__in=OPEN_TARGETS).update(
        state=TargetState.SKIPPED, reason="The rollout was cancelled.", lane=None, fence=None, blocked_by=None
    )


def _lanes(rollout: Rollout, times: int, *, beside: Collection[UUID]) -> list[Child]:
    """For each cluster with open targets and without a lane. Each time they are other children."""
    clusters = listed(Cluster, OPEN_IN, [rollout.pk, list(beside)])
    return [
        Child(
            target=f"lane:{times}:{cluster.name}:{number}",
            input=LaneInput(rollout_id=rollout.pk, cluster_id=cluster.pk, number=number),
            limit_key=f"cluster:{cluster.name}",
        )
        for cluster in clusters
        for number in range(rollout.parallelism)
    ]


def _said(rollout: Rollout) -> str:
    done, here = answer(SAID, [rollout.pk, rollout.wave]) or (0, 0)
    return f"wave {rollout.wave} of {rollout.last_wave}: {done} of {here} targets"


def _waits(at: datetime) -> str:
    return f"Waits until {at.astimezone(UTC):%a %d %b %H:%M} UTC, when it may work."


ROLLOUT = Workflow(
    name="rollout",
    version=1,
    queue=Queue.FLEET,
    input=RolloutInput,
    steps=(
        Step(name="run the waves", do=run_the_waves, pivot=True, deadline=AS_LONG_AS_IT_TAKES),
        Step(name="stand still", do=stand_still, atomic=True),
    ),
)
