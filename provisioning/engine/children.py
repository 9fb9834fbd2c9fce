"""Children of a run: a fan-out is rows, counted by the next step. No counter on a hot row, no chord."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

from django.db import connection
from django.db.models import Count
from django.db.models.functions import Now

from provisioning.engine import bell
from provisioning.engine.start import QUEUED_FOR, write_steps
from provisioning.engine.workflow import StepContext, Workflow
from provisioning.models import Queue, Run, RunState

# Whoever is being driven looks by itself, and its row is locked: waiting for it could close a circle.
WAKE = """
UPDATE provisioning_run SET run_at = statement_timestamp() WHERE id IN (
    SELECT id FROM provisioning_run
    WHERE (id = %(elder)s OR parent_id = %(parent)s) AND state = 'running' AND lease_until IS NULL
    FOR NO KEY UPDATE SKIP LOCKED
)
"""


class LockOfAncestor(ValueError):
    """A child that waits for a lock its own parent holds would wait for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """One run to spawn. `target` names it among its siblings: spawned again, it is the same child."""

    target: str
    input: Any
    tenant_id: UUID | None = None
    lock_key: str | None = None
    limit_key: str | None = None


def spawn(ctx: StepContext, workflow: Workflow, children: Iterable[Child], *, priority: int = 4) -> None:
    """Queue one wave of children; those that exist stay as they are. Raises LockOfAncestor, LeaseLost."""
    parent, locks = ctx.run, _locks_above(ctx.run)
    runs = []
    for child in children:
        if child.lock_key in locks:
            raise LockOfAncestor(f"{child.target} needs {child.lock_key}, which {parent} holds.")
        runs.append(_run(parent, workflow, child, priority=priority))
    with ctx.control():
        Run.objects.bulk_create(runs, ignore_conflicts=True, batch_size=500)
        write_steps([run.pk for run in runs], workflow)
        bell.ring_after_commit(workflow.queue)


def counted(ctx: StepContext) -> dict[RunState, int]:
    """How many children are in each state."""
    by_state = ctx.run.children.values_list("state").annotate(Count("pk"))
    return {RunState(state): number for state, number in by_state}


def open_children(ctx: StepContext) -> int:
    """How many have not ended: the undo of a spawning step answers Again until there is none."""
    return ctx.run.children.filter(finished_at=None).count()


def wake_family(ctx: StepContext) -> None:
    """Whoever of this child's siblings and its parent waits for a time goes on now: there is news for them."""
    _wake(ctx, elder=ctx.run.parent_id)


def wake_siblings(ctx: StepContext) -> None:
    """The same for siblings alone: what their parent would do now can wait, and they would wait for it."""
    _wake(ctx, elder=None)


def _wake(ctx: StepContext, *, elder: UUID | None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(WAKE, {"elder": elder, "parent": ctx.run.parent_id})
        for _woken in range(cursor.rowcount):
            bell.ring_after_commit(Queue(ctx.run.queue))


def _run(parent: Run, workflow: Workflow, child: Child, *, priority: int) -> Run:
    return Run(
        id=uuid5(parent.pk, child.target),
        workflow=workflow.name,
        version=workflow.version,
        queue=workflow.queue,
        priority=priority,
        parent=parent,
        tenant_id=child.tenant_id,
        lock_key=child.lock_key,
        limit_key=child.limit_key,
        fair_key=parent.lock_key or f"run:{parent.pk}",
        input=workflow.dump(child.input),
        step=workflow.steps[0].name,
        deadline_at=Now() + QUEUED_FOR[workflow.queue],
        actor=parent.actor,
        key=f"{parent.pk}:{child.target}",
        request_id=parent.request_id,
    )


def _locks_above(run: Run | None) -> set[str]:
    locks = set()
    while run is not None:
        if run.lock_key is not None:
            locks.add(run.lock_key)
        run = run.parent
    return locks
