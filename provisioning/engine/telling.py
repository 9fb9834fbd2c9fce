"""What is told of a run: its own events, the audit log, and the feed that integrations read."""

from typing import Any
from uuid import UUID

from provisioning.models import EventKind, Run, RunEvent, RunState
from tenants import audit, events
from tenants.audit import Actor, AuditAction, ObjectType

ENGINE = Actor("system", "engine", "the engine")

ENDS = {
    RunState.SUCCEEDED: (AuditAction.OPERATION_SUCCEEDED, events.EventType.OPERATION_SUCCEEDED),
    RunState.FAILED: (AuditAction.OPERATION_FAILED, events.EventType.OPERATION_FAILED),
    RunState.CANCELLED: (AuditAction.OPERATION_CANCELLED, events.EventType.OPERATION_CANCELLED),
    RunState.PARKED: (AuditAction.OPERATION_PARKED, events.EventType.OPERATION_PARKED),
}


def write_event(run: Run, kind: EventKind, *, detail: str = "", actor: Actor | None = None, **fields: Any) -> None:
    """One more line of what happened to the run."""
    event(run, kind, detail=detail, actor=actor, **fields).save(force_insert=True)


def event(run: Run, kind: EventKind, *, detail: str = "", actor: Actor | None = None, **fields: Any) -> RunEvent:
    return RunEvent(
        run=run,
        step=run.step,
        direction=run.direction,
        fence=run.fence,
        owner=run.owner,
        kind=kind,
        detail=detail[:1000],
        actor=str(actor or ""),
        **fields,
    )


def write_audit(
    run: Run, action: AuditAction, *, actor: Actor, outcome: audit.Outcome = audit.Outcome.DONE, reason: str = ""
) -> None:
    """One entry of the audit log: last in its transaction, since it locks the tenant's chain.

    A reason that a person typed is sealed beside it, with the name they went by.
    """
    audit.write_together([entry(run, action, actor=actor, outcome=outcome, reason=reason)])


def entry(run: Run, action: AuditAction, *, actor: Actor, outcome: audit.Outcome, reason: str = "") -> audit.Entry:
    return audit.Entry(
        action,
        actor=actor,
        object=(ObjectType.OPERATION, run.pk),
        outcome=outcome,
        tenant=run.tenant_id,
        operation=run.pk,
        request=_uuid_or_none(run.request_id),
        personal=audit.typed(actor, reason),
    )


def tell_end(run: Run, state: RunState, actor: Actor) -> None:
    """What integrations and auditors are told of a run that ends or stops."""
    action, told = ENDS[state]
    if run.tenant_id is not None:
        events.record(told, tenant_id=run.tenant_id, operation=run.pk, data={"workflow": run.workflow})
    write_audit(run, action, actor=actor)


def _uuid_or_none(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
