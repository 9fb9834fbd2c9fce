"""What a person may do with a run, one function each: lock the row, compare the state, change it, write it down, ring.

Each may run inside the caller's transaction, and refreshes the run it was given. Raises StateConflict or PastPivot for
what the run does not allow now, and ReasonMissing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from provisioning.engine import bell, record, telling
from provisioning.engine.fence import fenced
from provisioning.engine.rows import NOW
from provisioning.errors import PastPivot, ReasonMissing
from provisioning.models import Control, Direction, EventKind, Queue, Run, RunState
from tenants.audit import Actor, AuditAction, Outcome
from tenants.errors import StateConflict

DUE: dict[str, Any] = {"run_at": NOW, "deadline_at": record.WAITS_FOR}


def actions(run: Run) -> list[str]:
    """What may be done with the run now, by its row. The one answer for API, admin and the functions below."""
    back = ["cancel"] if record.may_turn_back(run) else []
    if run.state == RunState.PARKED:
        skip_it = ["skip"] if record.current(run).skippable else []
        return ["retry", *skip_it, *(["undo"] if back else [])]
    match run.state, run.control:
        case RunState.QUEUED, None:
            return ["cancel"]
        case RunState.RUNNING, None:
            return ["pause", *back]
        case (RunState.PAUSED, None) | (RunState.QUEUED | RunState.RUNNING, Control.PAUSE):
            return ["resume", *back]
        case _:
            return []


def pause(run: Run, *, actor: Actor) -> None:
    """Stop at the next boundary; at once when the run waits. Its queued children wait with it."""
    with _acting(run, "pause", EventKind.PAUSE_REQUESTED, AuditAction.OPERATION_PAUSED, actor=actor):
        run.children.filter(state=RunState.QUEUED).update(control=Control.PAUSE)
        if run.held:
            fenced(run, control=Control.PAUSE)
        else:
            record.pause(run, record.current(run))


def resume(run: Run, *, actor: Actor) -> None:
    """Go on after a pause, or take back one that was not obeyed yet."""
    with _acting(run, "resume", EventKind.RESUMED, AuditAction.OPERATION_RESUMED, actor=actor):
        run.children.filter(state=RunState.QUEUED, control=Control.PAUSE).update(control=None)
        if run.state == RunState.PAUSED:
            fenced(run, state=RunState.RUNNING, **DUE)
        else:
            fenced(run, control=None)


def cancel(run: Run, *, reason: str, actor: Actor) -> None:
    """Undo what was made, from the next boundary on; a queued run ends at once. Cancels the run's children too."""
    with _acting(
        run, "cancel", EventKind.CANCEL_REQUESTED, AuditAction.OPERATION_CANCEL_REQUESTED, actor=actor, reason=reason
    ):
        if run.state == RunState.QUEUED:
            record.end(run, RunState.CANCELLED, error=record.cancelled(run, reason), actor=actor)
            return
        due = {} if run.held else DUE
        fenced(run, state=RunState.RUNNING, control=Control.CANCEL, **due)
        # All rows first: a child's worker waits for the audit log while it holds its row, never the other way round.
        children = run.children.select_for_update(no_key=True).filter(finished_at=None).order_by("pk")
        begun = [child for child in children if child.state != RunState.QUEUED]
        run.children.filter(state=RunState.QUEUED).update(
            state=RunState.CANCELLED,
            control=None,
            error=record.cancelled(run, reason),
            finished_at=Now(),
            deadline_at=None,
        )
        for child in begun:
            if "cancel" in actions(child):
                cancel(child, reason=reason, actor=actor)


def retry(run: Run, *, reason: str, actor: Actor) -> None:
    """Call the parked step again, its counters at 0."""
    with _acting(run, "retry", EventKind.RETRIED, AuditAction.OPERATION_RETRIED, actor=actor, reason=reason):
        fenced(run, state=RunState.RUNNING, attempts=0, crashes=0, **DUE)


def skip(run: Run, *, reason: str, actor: Actor) -> None:
    """Go on without the parked step. A finding stays open until its resources have been seen."""
    with _acting(run, "skip", EventKind.SKIPPED, AuditAction.OPERATION_SKIPPED, actor=actor, reason=reason):
        fenced(run, state=RunState.RUNNING, **DUE)
        record.skip(run, record.current(run), reason)


def undo(run: Run, *, reason: str, actor: Actor) -> None:
    """Take back what the parked run has made; it ends as failed."""
    with _acting(
        run, "undo", EventKind.UNDO_REQUESTED, AuditAction.OPERATION_UNDO_REQUESTED, actor=actor, reason=reason
    ):
        fenced(run, state=RunState.RUNNING, control=Control.CANCEL, **DUE)


def force_complete(run: Run, *, as_state: RunState, reason: str, actor: Actor) -> None:
    """Call a parked run `succeeded` or `failed`, whatever its steps left behind. A finding stays open."""
    if as_state not in (RunState.SUCCEEDED, RunState.FAILED):
        raise ValueError(f"A run is called succeeded or failed, not {as_state}.")
    with _acting(
        run,
        "force_complete",
        EventKind.FORCE_COMPLETED,
        AuditAction.OPERATION_FORCE_COMPLETED,
        actor=actor,
        reason=reason,
    ):
        error = None if as_state == RunState.SUCCEEDED else run.error
        record.end(run, as_state, error=error, actor=actor, forced=True, reason=reason[:500])


@contextmanager
def _acting(
    run: Run, verb: str, kind: EventKind, action: AuditAction, *, actor: Actor, reason: str | None = None
) -> Iterator[None]:
    """The frame of every act: the row locked and read afresh, the act allowed, and afterwards written down."""
    if reason is not None and not reason.strip():
        raise ReasonMissing
    with transaction.atomic():
        run.refresh_from_db(from_queryset=Run.objects.select_for_update(no_key=True))
        _allow(run, verb)
        telling.write_event(run, kind, detail=reason or "", actor=actor)
        yield
        telling.write_audit(run, action, actor=actor, outcome=Outcome.DONE, reason=reason or "")
        bell.ring_after_commit(Queue(run.queue))


def _allow(run: Run, verb: str) -> None:
    allowed = actions(run)
    if verb in allowed or (verb == "force_complete" and run.state == RunState.PARKED):
        return
    if verb in ("cancel", "undo") and run.pivoted and not run.ended:
        pivot = run.steps.filter(direction=Direction.DO, pivot=True).values_list("name", flat=True).first()
        raise PastPivot(f"Step {pivot!r} of {run.public_id} has begun: it only goes forward.", pivot=pivot)
    raise StateConflict(
        f"Operation {run.public_id} is {run.state} and cannot be asked to {verb.replace('_', ' ')}.",
        cure=f"What may be done now: {', '.join(allowed) or 'nothing'}.",
        state=run.state,
        actions=allowed,
    )
