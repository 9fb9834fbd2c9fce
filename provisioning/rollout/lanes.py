"""A lane: claim a batch of one cluster's targets, replay each, record them together, and go on.

Nothing is in memory that matters: a lane that dies leaves running targets with its fence, which any lane takes over.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from uuid import UUID

from django.utils import timezone

from provisioning.engine import children
from provisioning.engine.failure import Verdict, failure
from provisioning.engine.workflow import AT_ONCE, Again, Done, Outcome, Step, StepContext, Workflow
from provisioning.errors import StaleFence
from provisioning.models import OPEN_TARGETS, Queue, Rollout, RolloutState, RolloutTarget, TargetState
from provisioning.rollout import seams
from provisioning.rollout.budget import Budget
from provisioning.rollout.claiming import LEAST_AT_ONCE, claim, path_of
from provisioning.rollout.progress import standing_of, toll_of
from provisioning.rollout.recording import Ended, arrived, failed, given_back, record
from provisioning.rollout.settling import settle, stop_over_budget
from provisioning.rollout.window import opens

logger = logging.getLogger("tenure.rollout")

MOST_AT_ONCE = 100  # targets of a batch: what claiming and recording cost is shared by so many
A_BATCH_S = 2.0  # what a batch should take, so that lanes share a wave and a pause is obeyed soon
LONGEST_BATCH_S = 5.0  # what has not begun by then is given back
FIRST_PACE_S = 0.1  # a target, until one has been seen; if it takes longer, the rest of the batch is given back
SHORTLY, LONGEST_WAIT = timedelta(seconds=0.5), timedelta(seconds=5)
AS_LONG_AS_IT_TAKES = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class LaneInput:
    """`number` tells the lanes of one cluster apart."""

    rollout_id: UUID
    cluster_id: UUID
    number: int


def take_targets(ctx: StepContext) -> Outcome:
    """One batch. Done when the rollout stands still or is over; it may be paused in the middle of a batch."""
    outcome = _batch(ctx)
    if isinstance(outcome, Done):
        seams.replayer.close()
    return outcome


def _batch(ctx: StepContext) -> Outcome:
    rollout = rollout_of(ctx.input.rollout_id)
    if rollout.state != RolloutState.RUNNING or opens(
        timezone.now(), starts_at=rollout.starts_at, window=rollout.window
    ):
        return Done({"state": rollout.state}, also=lambda: _leave(ctx))
    pace = (ctx.cursor or {}).get("pace")
    limit, least = max(1, min(MOST_AT_ONCE, int(A_BATCH_S / (pace or FIRST_PACE_S)))), LEAST_AT_ONCE if pace else 1
    with ctx.control():
        targets = claim(ctx, rollout, ctx.input.cluster_id, limit=limit, least=least)
    if not targets:
        return _idle(ctx, rollout)
    began = monotonic()
    batch = list(_replayed(ctx, rollout, targets))
    with ctx.control():
        record(ctx, rollout, batch)
        if any(ended.state == TargetState.FAILED for ended in batch):
            stop_over_budget(ctx, rollout)
    done = sum(ended.state == TargetState.SUCCEEDED for ended in batch)
    pace = (monotonic() - began) / max(1, sum(ended.seconds is not None for ended in batch))
    return Again(AT_ONCE, cursor={"pace": max(pace, 0.001)}, note=f"{done} of {len(batch)} arrived")


def _replayed(ctx: StepContext, rollout: Rollout, targets: list[RolloutTarget]) -> Iterator[Ended]:
    """How each target ended. After too many failures, or too long, the rest is given back untouched."""
    budget, toll, until = Budget.of(rollout.max_failures), None, monotonic() + LONGEST_BATCH_S
    stopped = False
    for target in targets:
        if stopped or monotonic() > until:
            yield given_back(target)
            continue
        ended = _replay(ctx, target)
        if ended.state == TargetState.FAILED:
            toll = (toll or toll_of(rollout)).and_one(ended.budget_class)
            stopped = bool(budget.breach(toll))
        yield ended


def _replay(ctx: StepContext, target: RolloutTarget) -> Ended:
    began = monotonic()
    try:
        replayed = seams.replayer.replay(target, path_of(target))
    except StaleFence as stale:
        ctx.check()  # another lane has it: LeaseLost
        return failed(target, stale, monotonic() - began)
    except Exception as raised:  # one target never stops its neighbours; failure() tells the kinds apart
        if failure(raised).verdict is Verdict.UNFORESEEN:
            logger.exception("%s: target %s failed unforeseen", ctx.run.public_id, target)
        return failed(target, raised, monotonic() - began)
    if isinstance(replayed, seams.Unfinished):
        return given_back(target, cursor=replayed.cursor)
    return arrived(target, monotonic() - began)


def _idle(ctx: StepContext, rollout: Rollout) -> Outcome:
    """Nothing to take: end the wave if it is through, else wait for the time of the next, or for the other lanes."""
    if settle(ctx, rollout):
        children.wake_family(ctx)
        return Again(AT_ONCE, cursor=ctx.cursor)
    if not rollout.targets.filter(cluster=ctx.input.cluster_id, state__in=OPEN_TARGETS).exists():
        return Done({"state": rollout.state})  # the rollout's run sends others if late ones come
    standing = standing_of(rollout)
    wait = standing.due_at - timezone.now() if standing.due_at else SHORTLY
    note = f"{standing.waiting} wait, {standing.running} are being worked on"
    return Again(max(SHORTLY, min(wait, LONGEST_WAIT)), cursor=ctx.cursor, note=note)


def _leave(ctx: StepContext) -> None:
    """What this lane had in work when a former worker of it died waits for whoever goes on."""
    mine = RolloutTarget.objects.filter(lane=ctx.run, state=TargetState.RUNNING)
    mine.update(state=TargetState.WAITING, lane=None, fence=None)
    children.wake_family(ctx)


def rollout_of(pk: UUID) -> Rollout:
    """Without the plan, which is long and which no lane needs."""
    return Rollout.objects.select_related("release").defer("plan", *_TEXTS).get(pk=pk)


_TEXTS = tuple(f"release__{name}" for name in ("script", "seed", "finish", "shape", "pool_script", "pool_shape"))

LANE = Workflow(
    name="rollout lane",
    version=1,
    queue=Queue.FLEET,
    input=LaneInput,
    steps=(
        Step(
            name="take targets",
            do=take_targets,
            pivot=True,
            timeout=timedelta(hours=1),
            deadline=AS_LONG_AS_IT_TAKES,
        ),
    ),
)
