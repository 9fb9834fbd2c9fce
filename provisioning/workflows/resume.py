"""Resuming: what suspending shut is opened, with everything in it as it was."""

from dataclasses import dataclass
from uuid import UUID

from provisioning.engine.workflow import Done, Outcome, Step, StepContext, Workflow
from provisioning.models import Queue
from provisioning.workflows.doors import locked, opening, told, turn, turn_back
from tenants.audit import AuditAction
from tenants.events import EventType
from tenants.states import TenantState


@dataclass(frozen=True, slots=True)
class ResumeInput:
    """Who, and the state it comes from: always suspended."""

    tenant_id: UUID
    was: str = TenantState.SUSPENDED


def resumed(ctx: StepContext) -> Outcome:
    locked(ctx).to(TenantState.ACTIVE)
    told(ctx, AuditAction.TENANT_RESUMED, EventType.TENANT_RESUMED)
    return Done()


RESUME = Workflow(
    name="resume",
    version=1,
    queue=Queue.OPERATIONS,
    input=ResumeInput,
    steps=(
        Step(
            name="say that it comes back",
            do=turn(TenantState.RESUMING),
            undo=turn_back(TenantState.RESUMING),
            atomic=True,
        ),
        *opening(),
        Step(name="active again", do=resumed, atomic=True, pivot=True),
    ),
)
