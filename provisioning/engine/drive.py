"""Drive runs: claim one, call its steps' bodies, record how each ended."""

import logging
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from django.db import Error as DatabaseError
from django.db import connection, transaction

from provisioning.engine import bell, record
from provisioning.engine.claim import claim
from provisioning.engine.failpoint import Moment, reached
from provisioning.engine.failure import Failure, Verdict, failure, is_outage
from provisioning.engine.fence import LeaseLost, fenced_transaction, hold
from provisioning.engine.lease import Lease, boot_clock
from provisioning.engine.workflow import Done, Outcome, StepContext, Workflow, Workflows
from provisioning.models import Queue, Run, RunStep
from tenants.isolation.logs import doing

logger = logging.getLogger("tenure.engine")


def advance(*, queue: Queue, workflows: Workflows, slice_s: float = 20) -> None:
    """Claim and drive until nothing is runnable or the time slice is spent. Safe to call twice, late, or never.

    Raises OperationalError while the control database is away; what was claimed then is claimed again by its lease.
    """
    until = monotonic() + slice_s
    while monotonic() < until:
        sent = boot_clock()
        if (run := claim(queue=queue, known=workflows)) is None:
            return
        with suppress(LeaseLost):  # a BaseException: no body can swallow it
            drive(run, workflows[run.workflow, run.version], sent=sent, until=until)
    bell.ring(queue)  # for what is left


def drive(run: Run, workflow: Workflow, *, sent: float, until: float) -> None:
    """Run's steps under one lease, until it waits, stops, ends, or the slice is spent."""
    reached(Moment.CLAIMED, run.step, run.direction)
    with doing(operation=run.public_id), Lease(run, sent=sent) as lease:
        turn = Turn(run, workflow, lease, until, one_by_one=run.crashes > 0)
        while run.held and (row := turn.next_row()) is not None:
            turn.take(row)


@dataclass(slots=True)
class Turn:
    """One claim of a run, being driven.

    # Note [What shares a transaction]
    The record of a step and the start of the next commit together: nothing happens between the two. They are one
    statement, and it is the lock, too: it writes nothing if the claim is lost or a person wants something of the run,
    and then the long way is gone: lock, look, write. Atomic steps share their transaction, each in a savepoint, as they
    write control rows and nothing else: either all of it is there after a crash, or none. Two things keep a transaction
    of their own. An atomic pivot, since its start must be known before it runs. And every step of a run whose last
    worker died without a word, so that the step that kills is the one that is counted: whoever claims such a run goes
    one by one.
    """

    run: Run
    workflow: Workflow
    lease: Lease
    until: float  # by `monotonic`
    one_by_one: bool
    ended: tuple[RunStep, Outcome | Failure] | None = None  # how the last body ended, not recorded yet
    rows: list[RunStep] = field(default_factory=list)  # of one direction; a step that was not begun is as it is here
    known: dict[str, Any] = field(default_factory=dict)  # see StepContext

    def next_row(self) -> RunStep | None:
        """Record how the last body ended, and start the next step. None: the turn is over, and the lease is freed."""
        try:
            row, recorded = self._go_on()
        except DatabaseError as error:
            if self.one_by_one or not is_outage(error):
                raise
            self.one_by_one = True  # once more, over a new connection: the server may have answered by now
            self.rows.clear()
            connection.close_if_unusable_or_obsolete()
            if self.ended is not None and not record.is_open(self.run, self.ended[0]):
                self.ended = None
            return self.next_row()
        self.ended = None
        for each in recorded:
            reached(Moment.AFTER_RECORD, each.name, each.direction)
        return row

    def take(self, row: RunStep) -> None:
        """Call the body of a step that has been started."""
        self.lease.expect(self.workflow[row.name].timeout)
        if not self.workflow[row.name].atomic:
            self.ended = row, attempt(self.run, self.workflow, row, self.known)
            return
        try:
            with fenced_transaction(self.run):
                self._settle(row, attempt(self.run, self.workflow, row, self.known))
        except DatabaseError as error:
            if not is_outage(error):
                raise
            connection.close_if_unusable_or_obsolete()
            with fenced_transaction(self.run):
                if record.is_open(self.run, row):
                    record.raised(self.run, self.workflow, row, failure(error))
        reached(Moment.AFTER_RECORD, row.name, row.direction)

    def _go_on(self) -> tuple[RunStep | None, list[RunStep]]:
        """The row that has been started, and those that were recorded on the way."""
        ended = self.ended
        if ended is not None and self._stands_alone(*ended) and (row := self._move_on(*ended)) is not None:
            return row, [ended[0]]
        with transaction.atomic(durable=True):
            return self._record_and_start()

    def _stands_alone(self, row: RunStep, outcome: Outcome | Failure) -> bool:
        """Whether nothing else belongs into the transaction of its record."""
        if not isinstance(outcome, Done) or outcome.also is not None or (following := self._behind(row)) is None:
            return False
        step = self.workflow[following.name]
        return step.pivot or not step.atomic

    def _record_and_start(self) -> tuple[RunStep | None, list[RunStep]]:
        """The same in a transaction, with the atomic steps on the way."""
        recorded: list[RunStep] = []
        ended, held = self.ended, False
        while True:
            row = None if ended is None else self._move_on(*ended)
            if row is None:
                if not held:
                    hold(self.run)
                row = self._look_and_start(ended)
            held = True
            if ended is not None:
                recorded.append(ended[0])
            if row is None:
                return None, recorded
            step = self.workflow[row.name]
            if self.one_by_one or step.pivot or not step.atomic:
                return row, recorded
            self.lease.expect(step.timeout)
            ended = row, attempt(self.run, self.workflow, row, self.known)

    def _move_on(self, row: RunStep, outcome: Outcome | Failure) -> RunStep | None:
        """The next step, started, or None where nothing was written: see `_look_and_start`."""
        if self.one_by_one or not isinstance(outcome, Done) or monotonic() > self.until:
            return None
        if (following := self._behind(row)) is None:
            return None
        reached(Moment.BEFORE_RECORD, row.name, row.direction)
        return following if record.moved_on(self.run, self.workflow, row, outcome, following) else None

    def _look_and_start(self, ended: tuple[RunStep, Outcome | Failure] | None) -> RunStep | None:
        """Record how the last body ended, see what is wanted of the run by now, and start what comes next, if any."""
        if ended is None:
            self.rows = record.rows_of(self.run)
            following = next((row for row in self.rows if row.name == self.run.step), None)
        else:
            following = self._settle(*ended)
        if not self.run.held:
            return None
        return record.started(self.run, self.workflow, give_back=monotonic() > self.until, row=following)

    def _settle(self, row: RunStep, outcome: Outcome | Failure) -> RunStep | None:
        """Write how a body ended. Returns the row that is under the cursor then, if it is known."""
        if isinstance(outcome, Failure):
            record.raised(self.run, self.workflow, row, outcome)
            return None
        following = record.finished(self.run, row, outcome, self._behind(row))
        reached(Moment.BEFORE_RECORD, row.name, row.direction)
        return following

    def _behind(self, row: RunStep) -> RunStep | None:
        if row not in self.rows:
            self.rows = record.rows_of(self.run)
        return record.behind(row, self.rows)


def attempt(run: Run, workflow: Workflow, row: RunStep, known: dict[str, Any]) -> Outcome | Failure:
    """One call of one body. Inside a transaction what it wrote is rolled back if it fails.

    Raises what it met if that has cost the transaction, too.
    """
    reached(Moment.STARTED, row.name, row.direction)
    try:
        with transaction.atomic() if connection.in_atomic_block else nullcontext():
            context = StepContext(run=run, row=row, input=workflow.load(run.input), known=known)
            outcome = record.checked(workflow[row.name].body(row.direction)(context))
            if workflow[row.name].atomic:
                known.clear()
            reached(Moment.BODY_DONE, row.name, row.direction)
            return outcome
    except Exception as error:  # the one broad except: failure() tells the kinds apart
        if connection.needs_rollback:
            raise
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()  # the error may be the loss of it
        failed = failure(error)
        if failed.verdict is Verdict.UNFORESEEN:
            logger.exception("%s: step %s failed unforeseen", run.public_id, row.name)
        return failed
