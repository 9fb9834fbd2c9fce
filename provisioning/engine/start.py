"""Accept work: one run and its rows, in the caller's transaction; the bell rings after the commit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now

from provisioning.engine import bell, telling
from provisioning.engine.workflow import Workflow, Workflows
from provisioning.errors import KeyReused, OperationInProgress
from provisioning.models import EventKind, Queue, Run, RunEvent
from tenants import audit
from tenants.audit import Actor, AuditAction

# For a hundred tenants these are 1,100 rows: as models they took two thirds of the time that accepting takes.
STEPS = """
INSERT INTO provisioning_runstep
    (run_id, position, name, skippable, pivot, direction, state, attempts, crashes, note, output, reason)
SELECT run, position - 1, name, skippable, pivot, 'do', 'pending', 0, 0, '', '{}', ''
FROM unnest(%s::uuid[]) WITH ORDINALITY AS runs (run, place)
CROSS JOIN unnest(%s::text[], %s::boolean[], %s::boolean[]) WITH ORDINALITY AS steps (name, skippable, pivot, position)
ORDER BY place, position
ON CONFLICT (run_id, direction, name) DO NOTHING
"""
QUEUED_FOR = {Queue.OPERATIONS: timedelta(hours=1), Queue.FLEET: timedelta(hours=24)}


def newest(workflows: Workflows, name: str) -> Workflow:
    """The highest version of a workflow, which new runs take. Raises KeyError for an unknown name."""
    versions = [workflow for (known, _version), workflow in workflows.items() if known == name]
    if not versions:
        raise KeyError(name)
    return max(versions, key=lambda workflow: workflow.version)


def start(
    workflow: Workflow,
    *,
    input: Any,
    actor: Actor,
    key: str,
    tenant_id: UUID | None = None,
    lock_key: str | None = None,
    limit_key: str | None = None,
    fair_key: str | None = None,
    priority: int = 3,
    reason: str = "",
    request_id: str = "",
) -> Run:
    """Queue a run. Must be called inside a transaction: what the run is about commits with it, or neither does.

    The same (actor, key) gives the run that exists; KeyReused if that one is for another workflow, tenant or input.
    Raises OperationInProgress while another operation holds `lock_key`, TypeError for another workflow's input.
    """
    _assert_inside()
    run = _run(
        workflow,
        actor,
        priority=priority,
        tenant_id=tenant_id,
        lock_key=lock_key,
        limit_key=limit_key,
        fair_key=fair_key or str(actor),
        input=workflow.dump(input),
        reason=reason,
        key=key,
        request_id=request_id,
    )
    # Looked up first: an INSERT that collides waits for the other transaction, perhaps for a worker that waits for us.
    if (known := _earlier(run) or _insert(run)) is not None:
        return known
    write_steps([run.pk], workflow)
    telling.write_event(run, EventKind.STARTED, actor=actor)
    telling.write_audit(run, AuditAction.OPERATION_STARTED, actor=actor, outcome=audit.Outcome.REQUESTED, reason=reason)
    bell.ring_after_commit(workflow.queue)
    run.refresh_from_db()
    return run


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One of many runs to start together; see `start` for the fields."""

    input: Any
    key: str
    tenant_id: UUID
    lock_key: str
    limit_key: str


def start_together(workflow: Workflow, starts: Sequence[Start], *, actor: Actor) -> list[Run]:
    """Queue many runs of one workflow in the caller's transaction: all of them or none. None may be a repeat.

    Raises IntegrityError for a key that started a run before, or a lock that another operation holds.
    """
    _assert_inside()
    runs = [
        _run(
            workflow,
            actor,
            tenant_id=each.tenant_id,
            lock_key=each.lock_key,
            limit_key=each.limit_key,
            fair_key=str(actor),
            input=workflow.dump(each.input),
            key=each.key,
        )
        for each in starts
    ]
    Run.objects.bulk_create(runs)
    write_steps([run.pk for run in runs], workflow)
    RunEvent.objects.bulk_create([telling.event(run, EventKind.STARTED, actor=actor) for run in runs])
    audit.write_together(
        telling.entry(run, AuditAction.OPERATION_STARTED, actor=actor, outcome=audit.Outcome.REQUESTED) for run in runs
    )
    bell.ring_after_commit(workflow.queue)
    return runs


def _assert_inside() -> None:
    if not transaction.get_connection().in_atomic_block:
        raise transaction.TransactionManagementError("start() belongs into the transaction of what it is about.")


def _run(workflow: Workflow, actor: Actor, **fields: Any) -> Run:
    return Run(
        workflow=workflow.name,
        version=workflow.version,
        queue=workflow.queue,
        step=workflow.steps[0].name,
        deadline_at=Now() + QUEUED_FOR[workflow.queue],
        actor=str(actor),
        **fields,
    )


def write_steps(runs: Sequence[UUID], workflow: Workflow) -> None:
    """The rows of all steps of these runs, as yet pending; those that are there stay as they are."""
    names, skippable, pivots = zip(*((step.name, step.skippable, step.pivot) for step in workflow.steps), strict=True)
    with connection.cursor() as cursor:
        cursor.execute(STEPS, (list(runs), list(names), list(skippable), list(pivots)))


def _insert(run: Run) -> Run | None:
    """Let the unique indexes judge. Returns the run that was accepted under this key in the meantime, if any."""
    _refuse_second(run)
    try:
        with transaction.atomic():
            run.save(force_insert=True)
    except IntegrityError:
        if (earlier := _earlier(run)) is not None:
            return earlier
        _refuse_second(run)
        raise
    return None


def _earlier(run: Run) -> Run | None:
    earlier = Run.objects.filter(actor=run.actor, key=run.key).first()
    if earlier is None:
        return None
    asked = (run.workflow, run.tenant_id, run.input)
    if asked != (earlier.workflow, earlier.tenant_id, earlier.input):
        raise KeyReused(run=str(earlier.pk))
    return earlier


def _refuse_second(run: Run) -> None:
    if run.lock_key is None:
        return
    # A repeat of this very request, accepted a moment ago, is not in its own way.
    others = Run.objects.filter(lock_key=run.lock_key, parent=None, finished_at=None)
    blocker = others.exclude(actor=run.actor, key=run.key).first()
    if blocker is not None:
        raise OperationInProgress(
            f"Operation {blocker.public_id} ({blocker.workflow}) is not finished.",
            blocking_operation=blocker.public_id,
        )
