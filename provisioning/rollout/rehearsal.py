"""Walk a draft on copies of its targets, before anybody approves it.

# Note [A rehearsal is one piece]
It works in the process that drives it. What a kill may leave are copies, and those are found and dropped by the lock
that the dead process no longer holds (see copies' Note [Whose copies are dead]), at the next rehearsal or by the
sweeper. Steps of the engine would need an undo and a lease for each copy, to the same end. Whoever cannot wait (the
API, the admin) starts a run whose one step is all of this: see rehearsing.py.
"""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from math import ceil
from typing import Any
from uuid import uuid4

from django.db import IntegrityError, transaction
from django.db.models import F
from django.db.models.functions import Now

from provisioning.databases import copies
from provisioning.databases.paths.weights import ACCESS_EXCLUSIVE
from provisioning.errors import OperationInProgress, Transient
from provisioning.models import Rehearsal, RehearsalState, Rollout, RolloutState, Run
from provisioning.rollout.errors import InvalidRollout, RehearsalObjects, RolloutRefused
from provisioning.rollout.measuring import MODES, CopyReport, rehearsed
from provisioning.rollout.plan import Frozen, RolloutPlan
from provisioning.rollout.sampling import placed, sampled
from tenants.audit import Actor, AuditAction, ObjectType
from tenants.audit import write as audit
from tenants.errors import StateConflict, TenureError
from tenants.models import Cluster

logger = logging.getLogger(__name__)

MOST_COPIES = 20
INTERRUPTED = "The process that ran it was ended."
HELD, FAILED = "LOCK_HELD", "COPY_FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What nobody approves unread: this lock or a stronger one, held for more than `ms` on a table of over `bytes`."""

    lock: str = ACCESS_EXCLUSIVE
    ms: int = 500
    bytes: int = 64 * 1_024 * 1_024


NORMAL = Limits()


@dataclass(frozen=True, slots=True)
class Finding:
    """Why an approval wants a reason. `code` is LOCK_HELD, or COPY_FAILED: a copy could not be brought along."""

    code: str
    target: str
    message: str
    table: str = ""
    lock: str = ""
    held_ms: float = 0.0
    bytes: int = 0
    migration: str = ""
    statement: str = ""


def rehearse(
    rollout: Rollout, frozen: Frozen, *, k: int, actor: Actor, limits: Limits, run: Run | None = None
) -> Rehearsal:
    """Bring copies of the k largest targets, the oldest, and one for each way, along; then drop them.

    `frozen` is the draft's plan as it is now; `run` is whose step this is, if any. What is found is on the row that is
    returned; see `Rehearsal`. Raises InvalidRollout, StateConflict, RolloutRefused, OperationInProgress,
    ServerUnavailable or ServerRefused.
    """
    check_wish(k, limits)
    _check(rollout, frozen.plan)
    sweep_rehearsals()
    sample = sampled(frozen, k=k)
    clusters = list(Cluster.objects.filter(pk__in={each.cluster_id for each in sample}).order_by("name"))
    for cluster in clusters:
        copies.clear_away(cluster)
    rehearsal = Rehearsal(
        id=uuid4(),
        rollout=rollout,
        run=run,
        plan_digest=frozen.plan.digest,
        limits=asdict(limits),
        clusters=[cluster.name for cluster in clusters],
        started_by=str(actor),
    )
    with ExitStack() as stack:
        held = {  # before there is a row: whoever finds it running finds it locked
            cluster.pk: stack.enter_context(copies.working(cluster, rehearsal.pk)) for cluster in clusters
        }
        _begin(rehearsal)
        reports = []
        try:
            for number, chosen in enumerate(sample):
                reports.append(
                    rehearsed(
                        placed(chosen, k=k),
                        frozen.paths[chosen.release],
                        name=chosen.name,
                        copy_name=copies.copy_name(rehearsal.pk, number),
                        lock_timeout=timedelta(milliseconds=rollout.lock_timeout_ms),
                    )
                )
                copies.drop(held[chosen.cluster_id], rehearsal.pk)
        except BaseException as error:
            _end(rehearsal, RehearsalState.FAILED, error=_said(error))
            raise
    _finish(rehearsal, frozen, reports, actor=actor)
    rollout.refresh_from_db()
    return rehearsal


def latest(rollout: Rollout) -> Rehearsal | None:
    """The last one that came to its end, whatever it found."""
    found: Rehearsal | None = (
        Rehearsal.objects.filter(rollout=rollout.pk, state=RehearsalState.FINISHED).order_by("-started_at").first()
    )
    return found


def with_estimate(frozen: Frozen, rollout: Rollout) -> Frozen:
    """The plan, with what was measured of it. One that has changed since was not."""
    known = latest(rollout)
    if known is None or known.estimate_s is None or known.plan_digest != frozen.plan.digest:
        return frozen
    low, high = known.estimate_s
    return replace(frozen, plan=replace(frozen.plan, estimate_s=(low, high)))


def refuse_what_was_found(rollout: Rollout, *, override: str, actor: Actor) -> None:
    """Raises RehearsalObjects for findings of the latest rehearsal, unless `override` says why they do not matter.

    Of an older plan they count, too: it is rehearsed again, or overridden. Part of the approval's transaction.
    """
    rehearsal = latest(rollout)
    if rehearsal is None or not rehearsal.findings:
        return
    if not override.strip():
        first = rehearsal.findings[0]
        raise RehearsalObjects(f"{first['target']}: {first['message']}", findings=rehearsal.findings)
    Rehearsal.objects.filter(pk=rehearsal.pk).update(override=override[:500], overridden_by=str(actor))
    audit(
        AuditAction.ROLLOUT_OVERRIDDEN,
        actor=actor,
        object=(ObjectType.ROLLOUT, rollout.pk),
        counts={"findings": len(rehearsal.findings)},
    )


def sweep_rehearsals() -> None:
    """Whoever sweeps: what killed processes left is dropped, and their rows say so. Any number of copies may ask."""
    for rehearsal in Rehearsal.objects.filter(state=RehearsalState.RUNNING):
        clusters = list(Cluster.objects.filter(name__in=rehearsal.clusters))
        try:
            if any(copies.is_worked_with(cluster, rehearsal.pk) for cluster in clusters):
                continue
            for cluster in clusters:
                copies.clear_away(cluster)
        except TenureError as error:
            logger.warning("What rehearsal %s left is still there: %s", rehearsal.pk, error)
            continue
        ours = Rehearsal.objects.filter(pk=rehearsal.pk, state=RehearsalState.RUNNING)
        ours.update(state=RehearsalState.FAILED, error=INTERRUPTED, finished_at=Now())


def estimated(frozen: Frozen, reports: list[CopyReport], *, lanes: int) -> tuple[float, float] | None:
    """Seconds: if each target took as long as the quickest copy, and as the slowest. None if no copy arrived.

    `lanes` share a cluster's targets; the cluster with the most of them is what is waited for.
    """
    took = [report.seconds for report in reports if not report.error]
    on_clusters = Counter(target.cluster_id for target, _wave in frozen.targets)
    if not took:
        return None
    turns = ceil(max(on_clusters.values()) / lanes)
    return round(turns * min(took), 3), round(turns * max(took), 3)


def found_in(reports: list[CopyReport], limits: Limits) -> list[Finding]:
    """What is over the limits, and what failed."""
    told = []
    strong = MODES[MODES.index(limits.lock) :]
    for report in reports:
        if report.error:
            told.append(
                Finding(
                    FAILED,
                    report.target,
                    report.error["message"],
                    migration=report.error["migration"],
                    statement=report.error["statement"],
                )
            )
        for lock in report.locks:
            if lock.lock in strong and lock.held_ms > limits.ms and lock.bytes > limits.bytes:
                message = f"{lock.table} is locked {lock.lock} for {lock.held_ms:.0f} ms; it has {lock.bytes:,} bytes."
                told.append(Finding(HELD, report.target, message, **asdict(lock)))
    return told


def check_wish(k: int, limits: Limits) -> None:
    """Raises InvalidRollout for numbers and locks that make no sense."""
    if not 1 <= k <= MOST_COPIES:
        raise InvalidRollout(f"1 to {MOST_COPIES} targets are rehearsed.", field="k")
    if limits.lock not in MODES or limits.ms < 0 or limits.bytes < 0:
        raise InvalidRollout(f"A lock is one of {', '.join(MODES)}; limits are not below 0.", field="limits")


def _check(rollout: Rollout, plan: RolloutPlan) -> None:
    if rollout.state != RolloutState.DRAFT:
        raise StateConflict(
            f"Rollout {rollout.public_id} is {rollout.state}: what is rehearsed is a draft.",
            cure="Propose another one.",
            state=rollout.state,
        )
    if plan.refusals:
        raise RolloutRefused(plan.refusals[0].reason, cure=plan.refusals[0].instead)


def _begin(rehearsal: Rehearsal) -> None:
    try:
        with transaction.atomic():
            rehearsal.save(force_insert=True)
    except IntegrityError:
        raise OperationInProgress("Somebody rehearses this rollout already.") from None


def _finish(rehearsal: Rehearsal, frozen: Frozen, reports: list[CopyReport], *, actor: Actor) -> None:
    findings = found_in(reports, Limits(**rehearsal.limits))
    estimate = estimated(frozen, reports, lanes=rehearsal.rollout.parallelism)
    with transaction.atomic():
        _end(
            rehearsal,
            RehearsalState.FINISHED,
            copies=[asdict(report) for report in reports],
            findings=[asdict(finding) for finding in findings],
            estimate_s=estimate,
        )
        draft = Rollout.objects.filter(pk=rehearsal.rollout_id, state=RolloutState.DRAFT)
        kept = replace(frozen.plan, estimate_s=estimate)
        draft.update(plan=kept.row(), plan_digest=kept.digest, version=F("version") + 1)
        audit(
            AuditAction.ROLLOUT_REHEARSED,
            actor=actor,
            object=(ObjectType.ROLLOUT, rehearsal.rollout_id),
            counts={"findings": len(findings)},
        )
    rehearsal.refresh_from_db()


def _end(rehearsal: Rehearsal, state: RehearsalState, **changes: Any) -> None:
    ours = Rehearsal.objects.filter(pk=rehearsal.pk, state=RehearsalState.RUNNING)
    if not ours.update(state=state, finished_at=Now(), **changes) and state is RehearsalState.FINISHED:
        raise RehearsalLost


def _said(error: BaseException) -> str:
    """Of an error that nobody foresaw only the type: its message may quote a row."""
    return str(error)[:500] if isinstance(error, TenureError) else type(error).__name__


class RehearsalLost(Transient):
    """The session that held its copies was lost, and somebody cleared them away."""

    code = "REHEARSAL_LOST"
    cure = "Rehearse it again."
