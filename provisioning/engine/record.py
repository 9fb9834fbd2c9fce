"""Every write of a run on its way from step to step. Each function runs in a transaction that holds the run's row."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models.functions import Now

from provisioning.engine import rows, telling
from provisioning.engine.failure import Failure, Verdict, jitter
from provisioning.engine.fence import fenced, unhindered
from provisioning.engine.rows import NOW
from provisioning.engine.workflow import AT_ONCE, Again, Done, Outcome, Step, Workflow
from provisioning.models import Control, Direction, EventKind, Run, RunState, RunStep, StepState
from tenants.audit import Actor

MOST_CRASHES = 5
LONGEST_OUTPUT = 16_384  # bytes of JSON: an output is a reference, not a payload
PAUSED_FOR, PARKED_FOR, WAITS_FOR = timedelta(days=7), timedelta(hours=24), timedelta(hours=1)
GIVEN_UP = "It is not tried again by itself any more. Remove the cause, then retry it; or undo what was made."
FREED: dict[str, Any] = {"lease_until": None, "owner": ""}


class OutputTooLong(ValueError):
    """A step's output is above 16 kB of JSON: store the thing, and give its reference."""


def started(run: Run, workflow: Workflow, *, give_back: bool, row: RunStep | None = None) -> RunStep | None:
    """Commit the intention before the effect. None: this turn is over, and the lease is freed.

    `row` is the one under the cursor, if it was read in this transaction.
    """
    if run.control == Control.CANCEL and may_turn_back(run):
        turn_back(run, workflow)
        if run.ended:
            return None
        row = None
    row = row or current(run)
    if _turn_is_over(run, row, give_back=give_back):
        return None
    step = workflow[row.name]
    begins = row.state in (StepState.PENDING, StepState.FAILED)
    silent = row.state == StepState.STARTED and row.fence != run.fence  # nobody said how that one ended
    row.crashes += int(silent)
    fenced(
        run,
        (row, _begun(run, row)),
        pivoted=_pivoted(run, step),
        deadline_at=step.deadline if begins else run.deadline_at,
    )
    row.state, row.fence = StepState.STARTED, run.fence
    return row


def moved_on(run: Run, workflow: Workflow, row: RunStep, outcome: Done, following: RunStep) -> bool:
    """`finished` and `started` in one statement, which holds the run's row as well: the way almost all steps go.

    False, and nothing is written, where somebody must look what else there is to do.
    """
    step = workflow[following.name]
    moved = unhindered(
        run,
        (row, _done(outcome)),
        (following, _begun(run, following)),
        *outcome.rows,
        **_at(run, following),
        pivoted=_pivoted(run, step),
        deadline_at=step.deadline,
    )
    if moved:
        following.state, following.fence = StepState.STARTED, run.fence
        if outcome.also is not None:
            outcome.also()
    return moved


def _begun(run: Run, row: RunStep) -> rows.Changes:
    return {
        "state": StepState.STARTED,
        "fence": run.fence,
        "started_at": row.started_at or NOW,
        "crashes": row.crashes,
    }


def _done(outcome: Done) -> rows.Changes:
    return {"state": StepState.SUCCEEDED, "output": outcome.output, "finished_at": NOW, "reason": ""}


def _at(run: Run, row: RunStep) -> rows.Changes:
    """The run, with the cursor on this step. What turned it back stays in view."""
    error = run.error if run.direction == Direction.UNDO else None
    return {"step": row.name, "attempts": 0, "crashes": 0, "error": error}


def _pivoted(run: Run, step: Step) -> bool:
    return run.pivoted or (step.pivot and run.direction == Direction.DO)


def _turn_is_over(run: Run, row: RunStep, *, give_back: bool) -> bool:
    if run.control == Control.PAUSE:
        pause(run, row)
    elif run.crashes >= MOST_CRASHES:
        died = f"The worker died {run.crashes} times in this step without a word."
        park(run, row, Failure(Verdict.UNFORESEEN, "WORKER_DIED", died, "Look for memory, time and native code."))
    elif row.state in (StepState.STARTED, StepState.WAITING) and is_overdue(run):
        park(run, row, overdue(row))
    elif give_back:
        fenced(run, **FREED, run_at=NOW)
    else:
        return False
    return True


def finished(run: Run, row: RunStep, outcome: Outcome, following: RunStep | None) -> RunStep | None:
    """Keep what a body gave back, and move the cursor. Returns the row under it, where there is one to go on with."""
    if isinstance(outcome, Again):
        _write(row, state=StepState.WAITING, cursor=outcome.cursor, note=outcome.note[:500])
        due = {} if outcome.after == AT_ONCE else _wait(run, outcome.after)
        fenced(run, attempts=0, crashes=0, **due)
        return row
    if outcome.also is not None:
        outcome.also()
    rows.written(row, "true", (), _done(outcome), then=outcome.rows)
    go_on(run, following)
    return following


def skip(run: Run, row: RunStep, reason: str) -> None:
    """Leave a step out, for a reason."""
    _write(row, state=StepState.SKIPPED, reason=reason[:500], finished_at=NOW)
    go_on(run, behind(row, rows_of(run)))


def go_on(run: Run, following: RunStep | None) -> None:
    """To the next step of this direction, or to the end when there is none."""
    if following is not None:
        fenced(run, **_at(run, following), deadline_at=WAITS_FOR)
    elif run.direction == Direction.DO:
        end(run, RunState.SUCCEEDED, error=None)
    else:
        end_of_undo(run)


def end_of_undo(run: Run) -> None:
    """Everything is taken back: cancelled if a person wanted that, else failed for the reason that turned it back."""
    acts = (EventKind.CANCEL_REQUESTED, EventKind.RETRIED, EventKind.SKIPPED)  # the last of them holds
    wish = run.events.filter(direction=Direction.DO, kind__in=acts).order_by("id").last()
    if wish is not None and wish.kind == EventKind.CANCEL_REQUESTED:
        end(run, RunState.CANCELLED, error=cancelled(run, wish.detail))
    else:
        end(run, RunState.FAILED, error=cause_of(run))


def cancelled(run: Run, reason: str) -> dict[str, Any]:
    """The error of a cancelled run."""
    return Failure(Verdict.REFUSED, "CANCELLED", reason, "").row(step=run.step, attempts=0)


def cause_of(run: Run) -> dict[str, Any] | None:
    """What turned the run back, behind whatever befell its undo."""
    error: dict[str, Any] | None = run.error
    return error.get("cause", error) if error else error


def raised(run: Run, workflow: Workflow, row: RunStep, failed: Failure) -> None:
    """Keep how a body failed: try again later, turn back, or park."""
    run.refresh_from_db()  # what an atomic body wrote before it failed was rolled back
    row.refresh_from_db()
    step, attempts = workflow[row.name], run.attempts + 1
    telling.write_event(run, EventKind.FAILED, detail=f"{failed.code}: {failed.detail}", began_at=row.started_at)
    _write(row, attempts=row.attempts + 1, note=failed.detail[:500])
    again = failed.verdict is Verdict.TRY_AGAIN and run.control != Control.CANCEL
    if again and attempts < step.attempts:
        _write(row, state=StepState.WAITING)
        error = failed.row(step=row.name, attempts=attempts) if run.direction == Direction.DO else run.error
        fenced(run, attempts=attempts, error=error, **_wait(run, failed.retry_after + jitter(attempts)))
    elif may_turn_back(run) and (
        failed.verdict is Verdict.REFUSED or run.control == Control.CANCEL or (again and step.exhausted == "undo")
    ):
        fenced(run, attempts=attempts, error=failed.row(step=row.name, attempts=attempts))
        turn_back(run, workflow)
    else:
        fenced(run, attempts=attempts)
        park(run, row, failed)


def _wait(run: Run, wait: timedelta) -> dict[str, Any]:
    """Free the lease until then; but what a person asked for meanwhile is obeyed now, not after the wait."""
    return {} if run.control else {**FREED, "run_at": wait}


def may_turn_back(run: Run) -> bool:
    return run.direction == Direction.DO and not run.pivoted


def turn_back(run: Run, workflow: Workflow) -> None:
    """Write the undo rows of all that was begun, the failed step itself first, and point the cursor at it."""
    telling.write_event(run, EventKind.TURNED_BACK)
    begun = run.steps.filter(direction=Direction.DO).exclude(state=StepState.PENDING)
    begun.filter(state__in=[StepState.STARTED, StepState.WAITING]).update(state=StepState.FAILED, finished_at=Now())
    undone = [
        RunStep(run=run, position=done.position, name=done.name, direction=Direction.UNDO, skippable=True)
        for done in begun.order_by("-position")
        if workflow[done.name].undo is not None
    ]
    RunStep.objects.bulk_create(undone)
    fenced(
        run,
        direction=Direction.UNDO,
        step=undone[0].name if undone else run.step,
        control=None,
        attempts=0,
        crashes=0,
        deadline_at=WAITS_FOR,
    )
    if not undone:
        end_of_undo(run)


def pause(run: Run, row: RunStep) -> None:
    """Stop at this boundary. The step keeps its cursor; its deadline starts afresh when the run is resumed."""
    if row.state in (StepState.STARTED, StepState.WAITING):
        _write(row, state=StepState.PENDING, crashes=row.crashes + int(row.state == StepState.STARTED))
    fenced(run, **FREED, state=RunState.PAUSED, control=None, deadline_at=PAUSED_FOR)


def park(run: Run, row: RunStep, failed: Failure, *, actor: Actor = telling.ENGINE) -> None:
    """Stop for a person. The error says why; the exits are in control.py."""
    cause = cause_of(run) if run.direction == Direction.UNDO else None
    if failed.verdict == Verdict.TRY_AGAIN:
        failed = replace(failed, hint=GIVEN_UP)
    _write(row, state=StepState.FAILED, crashes=row.crashes + int(failed.code == "WORKER_DIED"))
    telling.write_event(run, EventKind.PARKED, detail=f"{failed.code}: {failed.detail}")
    fenced(
        run,
        **FREED,
        state=RunState.PARKED,
        control=None,
        error=failed.row(step=row.name, attempts=run.attempts, cause=cause),
        deadline_at=PARKED_FOR,
    )
    telling.tell_end(run, RunState.PARKED, actor)


def is_overdue(run: Run) -> bool:
    """By the control database's clock, never by a worker's."""
    return Run.objects.filter(pk=run.pk, deadline_at__lt=Now()).exists()


def overdue(row: RunStep) -> Failure:
    """The failure of a step that waited longer than its deadline."""
    detail = f"Step {row.name!r} is not done by its deadline. {row.note}".strip()
    return Failure(Verdict.UNFORESEEN, "OVERDUE", detail, "See what it waits for, then retry.")


def end(
    run: Run, state: RunState, *, error: dict[str, Any] | None, actor: Actor = telling.ENGINE, **changes: object
) -> None:
    """The last write of a run."""
    telling.write_event(run, EventKind.ENDED, detail=state)
    fenced(run, **FREED, state=state, control=None, error=error, finished_at=NOW, deadline_at=None, **changes)
    telling.tell_end(run, state, actor)


def checked(outcome: Outcome) -> Outcome:
    """The outcome, if a row can keep it. Raises OutputTooLong, or TypeError for what is no outcome or no JSON."""
    if not isinstance(outcome, Done | Again):
        raise TypeError("A step's body must return Done or Again.")
    kept = outcome.output if isinstance(outcome, Done) else outcome.cursor
    if len(json.dumps(kept, cls=DjangoJSONEncoder)) > LONGEST_OUTPUT:
        raise OutputTooLong
    return outcome


def current(run: Run) -> RunStep:
    """The row under the cursor."""
    row = rows.found(RunStep, "run_id = %s AND direction = %s AND name = %s", (run.pk, run.direction, run.step))
    if row is None:
        raise RunStep.DoesNotExist
    return row


def rows_of(run: Run) -> list[RunStep]:
    """Those of the run's direction, in the order they are gone through. Whoever holds the run alone writes them."""
    way = "DESC" if run.direction == Direction.UNDO else "ASC"
    return rows.listed(RunStep, f"run_id = %s AND direction = %s ORDER BY position {way}", (run.pk, run.direction))


def behind(row: RunStep, among: list[RunStep]) -> RunStep | None:
    """The row after this one, or None when it is the last."""
    return next(iter(among[among.index(row) + 1 :]), None)


def is_open(run: Run, row: RunStep) -> bool:
    """Whether `row` still waits for its record: a COMMIT may have arrived although the answer to it did not."""
    mine = "id = %s AND state = 'started' AND fence = %s"
    return rows.found(RunStep, mine, (row.pk, run.fence)) is not None


def _write(row: RunStep, **changes: object) -> None:
    rows.written(row, "true", (), changes)
