"""Suspending: every door is shut, and nothing is lost."""

from dataclasses import dataclass
from uuid import UUID

from provisioning.engine.workflow import Done, Outcome, Step, StepContext, Workflow
from provisioning.models import Queue
from provisioning.workflows.doors import locked, shutting, told, turn, turn_back
from tenants.audit import AuditAction
from tenants.events import EventType
from tenants.states import TenantState


@dataclass(frozen=True, slots=True)
class SuspendInput:
    """Who, and the state it comes from: always active."""

    tenant_id: UUID
    was: str = TenantState.ACTIVE


def suspended(ctx: StepContext) -> Outcome:
    locked(ctx).to(TenantState.SUSPENDED)
    told(ctx, AuditAction.TENANT_SUSPENDED, EventType.TENANT_SUSPENDED)
    return Done()


SUSPEND = Workflow(
    name="suspend",
    version=1,
    queue=Queue.OPERATIONS,
    input=SuspendInput,
    steps=(
        Step(
            name="refuse whoever asks",
            do=turn(TenantState.SUSPENDING),
            undo=turn_back(TenantState.SUSPENDING),
            atomic=True,
        ),
        *shutting(),
        Step(name="suspended", do=suspended, atomic=True, pivot=True),
    ),
)
