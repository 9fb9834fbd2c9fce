"""A rehearsal for whoever cannot wait for it: a run of the fleet's queue, around `rehearsal.rehearse`.

# Note [Driven twice]
A worker that is killed leaves a rehearsal that says it is running, and copies. Whoever drives the run on finds both by
the lock that the dead one no longer holds, drops them, and begins anew; an earlier one of this run that came to its end
is not done again. While the former worker is still at it, the row that only one rehearsal of a rollout may have keeps
the second out, and the run is tried again later.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.db import transaction

from provisioning.engine.start import start
from provisioning.engine.workflow import LONGEST_TIMEOUT, Done, Outcome, Step, StepContext, Workflow
from provisioning.errors import OperationInProgress, Permanent, Transient
from provisioning.models import Queue, Rehearsal, RehearsalState, Rollout, Run
from provisioning.rollout import settling
from provisioning.rollout.acting import allow, asker_of
from provisioning.rollout.errors import InvalidRollout
from provisioning.rollout.proposing import plan_now
from provisioning.rollout.rehearsal import NORMAL, Limits, check_wish, rehearse
from tenants.audit import Actor
from tenants.errors import StateConflict

LOCK = "rehearsal:"


class RehearsedAlready(Transient):
    """Somebody else rehearses this rollout right now."""

    code = "OPERATION_IN_PROGRESS"
    cure = "Nothing to do: it is tried again by itself."


class RehearsalRefused(Permanent):
    """The rollout is no draft any more, or not as it was when the rehearsal was asked for."""

    code = "REHEARSAL_REFUSED"
    cure = "Propose the rollout again, and rehearse that one."


@dataclass(frozen=True, slots=True)
class RehearsalInput:
    """Of which draft, on how many copies, and what nobody approves unread; see `rehearsal.Limits`."""

    rollout_id: UUID
    k: int
    lock: str
    ms: int
    bytes: int


def start_rehearsal(
    rollout: Rollout, *, k: int = 3, limits: Limits = NORMAL, actor: Actor, key: str, request_id: str = ""
) -> Run:
    """Have a worker rehearse a draft. The same (actor, key) returns the run that exists.

    Raises InvalidRollout, StateConflict, OperationInProgress while another one is asked for, KeyReused.
    """
    check_wish(k, limits)
    with transaction.atomic():
        held = settling.locked(rollout)
        allow(held, "rehearse")
        return start(
            REHEARSE,
            input=RehearsalInput(rollout_id=held.pk, k=k, lock=limits.lock, ms=limits.ms, bytes=limits.bytes),
            lock_key=lock_of(held.pk),
            actor=actor,
            key=key,
            request_id=request_id,
        )


def lock_of(rollout_id: UUID) -> str:
    """What one rehearsal of a rollout holds against the next."""
    return f"{LOCK}{rollout_id}"


def under_way(rollout: Rollout) -> Run | None:
    """The operation that rehearses it now, or waits to."""
    return Run.objects.filter(lock_key=lock_of(rollout.pk), parent=None, finished_at__isnull=True).first()


def rehearse_on_copies(ctx: StepContext) -> Outcome:
    """See Note [Driven twice]."""
    asked = ctx.input
    done = Rehearsal.objects.filter(run=ctx.run_id, state=RehearsalState.FINISHED).first()
    if done is None:
        rollout = Rollout.objects.select_related("release").get(pk=asked.rollout_id)
        limits = Limits(lock=asked.lock, ms=asked.ms, bytes=asked.bytes)
        try:
            done = rehearse(rollout, plan_now(rollout), k=asked.k, actor=asker_of(ctx.run), limits=limits, run=ctx.run)
        except OperationInProgress as error:
            raise RehearsedAlready(str(error)) from error
        except (StateConflict, InvalidRollout) as error:
            raise RehearsalRefused(str(error), cure=error.cure) from error
    return Done({"rehearsal": done.pk.hex, "copies": len(done.copies), "findings": len(done.findings)})


REHEARSE = Workflow(
    name="rollout rehearsal",
    version=1,
    queue=Queue.FLEET,
    input=RehearsalInput,
    steps=(
        Step(
            name="rehearse",
            do=rehearse_on_copies,
            changes_nothing=True,  # that lasts: what it makes it drops, whether it comes to its end or not
            timeout=LONGEST_TIMEOUT,
            deadline=timedelta(hours=12),
            exhausted="undo",
        ),
    ),
)
