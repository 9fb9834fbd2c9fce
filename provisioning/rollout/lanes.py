"""A lane: claim a batch of one cluster's targets, replay each, record them together, and go on.

Nothing is in memory that matters: a lane that dies leaves running targets with its fence, which any lane takes over.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic, sleep
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
from provisioning.rollout.settling import UNREAD, look_again, settle, stop_over_budget
from provisioning.rollout.window import opens

logger = logging.getLogger("tenure.rollout")

MOST_AT_ONCE = 100  # targets of a batch: what claiming and recording cost is shared by so many
A_BATCH_S = 2.0  # what a batch should take, so that lanes share a wave and a pause is obeyed soon
A_TURN_S = 2.0  # the last batch of a turn begins before that: then the engine looks whether others wait
LONGEST_BATCH_S = 5.0  # what has not begun by then is given back
A_MOMENT_S, A_LOOK_S = 0.3, 0.005  # that a lane without work waits for the others before it sleeps, and between looks
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
    """Batches for a while. Done when the rollout stands still or is over; it may be paused in the middle of a batch."""
    outcome = _turn(ctx)
    if isinstance(outcome, Done):
        seams.replayer.close()
    return outcome


def _turn(ctx: StepContext) -> Outcome:
    """One batch after the other, and wave after wave, until the time is up or there is nothing to take for now."""
    until, pace = monotonic() + A_TURN_S, (ctx.cursor or {}).get("pace")
    rollout, note = rollout_of(ctx.input.rollout_id), ""
    while monotonic() < until:
        if _rests(rollout):
            return Done({"state": rollout.state}, also=lambda: _leave(ctx))
        batches = _Batches(ctx, rollout, pace, until)
        batches.work()
        pace, note = batches.pace, batches.note or note
        if monotonic() < until and not _rests(rollout):  # so nothing is left to take
            if settle(ctx, rollout):
                children.wake_siblings(ctx)
                look_again(rollout)
            elif not _moved_on(rollout):
                return _idle(ctx, rollout, pace)
    return Again(AT_ONCE, cursor={"pace": pace}, note=note)


def _moved_on(rollout: Rollout) -> bool:
    """Whether another lane ends the wave within a moment: to sleep and be woken takes longer than most waves' ends."""
    until = monotonic() + A_MOMENT_S
    while monotonic() < until:  # as a model each look takes five times the processor from the lane that works
        if look_again(rollout):
            return True
        sleep(A_LOOK_S)
    return False


def _rests(rollout: Rollout) -> bool:
    """Whether nobody may begin anything now."""
    closed = opens(timezone.now(), starts_at=rollout.starts_at, window=rollout.window)
    return rollout.state != RolloutState.RUNNING or closed is not None


@dataclass(slots=True)
class _Batches:
    """What one lane takes of the waves that are open. A batch is recorded and the next one claimed together.

    `pace` is the seconds that a target takes, where one has been seen.
    """

    ctx: StepContext
    rollout: Rollout
    pace: float | None
    until: float  # by `monotonic`
    ended: int = 0
    arrived: int = 0

    @property
    def note(self) -> str:
        return f"{self.arrived} of {self.ended} arrived" if self.ended else ""

    def work(self) -> None:
        with self.ctx.control():
            targets = self._claimed()
        while targets:
            began = monotonic()
            batch = list(_replayed(self.ctx, self.rollout, targets))
            self._count(batch, monotonic() - began)
            with self.ctx.control():
                record(self.ctx, self.rollout, batch)
                failed = any(ended.state == TargetState.FAILED for ended in batch)
                stopped = failed and stop_over_budget(self.ctx, self.rollout)
                late = monotonic() > self.until
                targets = [] if stopped or late or _rests(self.rollout) else self._claimed()

    def _claimed(self) -> list[RolloutTarget]:
        limit = max(1, min(MOST_AT_ONCE, int(A_BATCH_S / (self.pace or FIRST_PACE_S))))
        least = LEAST_AT_ONCE if self.pace else 1
        return claim(self.ctx, self.rollout, self.ctx.input.cluster_id, limit=limit, least=least)

    def _count(self, batch: list[Ended], seconds: float) -> None:
        tried = sum(ended.seconds is not None for ended in batch)
        self.pace = max(seconds / max(1, tried), 0.001)
        self.ended += len(batch)
        self.arrived += sum(ended.state == TargetState.SUCCEEDED for ended in batch)


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


def _idle(ctx: StepContext, rollout: Rollout, pace: float | None) -> Outcome:
    """Nothing to take, and the wave is not through: wait for the time of the next, or for the other lanes."""
    if not rollout.targets.filter(cluster=ctx.input.cluster_id, state__in=OPEN_TARGETS).exists():
        return Done({"state": rollout.state})  # the rollout's run sends others if late ones come
    standing = standing_of(rollout)
    wait = standing.due_at - timezone.now() if standing.due_at else SHORTLY
    note = f"{standing.waiting} wait, {standing.running} are being worked on"
    return Again(max(SHORTLY, min(wait, LONGEST_WAIT)), cursor={"pace": pace}, note=note)


def _leave(ctx: StepContext) -> None:
    """What this lane had in work when a former worker of it died waits for whoever goes on."""
    mine = RolloutTarget.objects.filter(lane=ctx.run, state=TargetState.RUNNING)
    mine.update(state=TargetState.WAITING, lane=None, fence=None)
    children.wake_family(ctx)


def rollout_of(pk: UUID) -> Rollout:
    """Without what is long, which no lane needs."""
    return Rollout.objects.select_related("release").defer(*UNREAD).get(pk=pk)


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
