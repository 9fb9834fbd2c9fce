"""Drive runs: claim one, call its steps' bodies, record how each ended."""

import logging
from contextlib import nullcontext, suppress
from time import monotonic

from django.db import connection

from provisioning.engine import bell, record
from provisioning.engine.claim import claim
from provisioning.engine.failpoint import Moment, reached
from provisioning.engine.failure import Verdict, failure
from provisioning.engine.fence import LeaseLost, fenced_transaction
from provisioning.engine.lease import Lease, boot_clock
from provisioning.engine.workflow import StepContext, Workflow, Workflows
from provisioning.models import Queue, Run, RunStep

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
    with Lease(run, sent=sent) as lease:
        while run.held:
            with fenced_transaction(run):
                row = record.started(run, workflow, give_back=monotonic() > until)
            if row is None:
                return
            lease.expect(workflow[row.name].timeout)
            attempt(run, workflow, row)


def attempt(run: Run, workflow: Workflow, row: RunStep) -> None:
    """One call of one body, then the row that says how it ended."""
    step = workflow[row.name]
    reached(Moment.STARTED, row.name, row.direction)
    try:
        with fenced_transaction(run) if step.atomic else nullcontext():
            context = StepContext(run=run, row=row, input=workflow.load(run.input))
            outcome = record.checked(step.body(row.direction)(context))
            reached(Moment.BODY_DONE, row.name, row.direction)
            if step.atomic:
                record.finished(run, row, outcome)
                reached(Moment.BEFORE_RECORD, row.name, row.direction)
    except Exception as error:  # the one broad except: failure() tells the kinds apart
        failed = failure(error)
        if failed.verdict is Verdict.UNFORESEEN:
            logger.exception("%s: step %s failed unforeseen", run.public_id, row.name)
        connection.close_if_unusable_or_obsolete()  # the error may be the loss of it
        with fenced_transaction(run):
            record.raised(run, workflow, row, failed)
    else:
        if not step.atomic:
            with fenced_transaction(run):
                record.finished(run, row, outcome)
                reached(Moment.BEFORE_RECORD, row.name, row.direction)
    reached(Moment.AFTER_RECORD, row.name, row.direction)
