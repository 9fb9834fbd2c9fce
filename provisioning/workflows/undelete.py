"""Undeleting: the purge is called off, and the doors are opened again."""

from dataclasses import dataclass
from uuid import UUID

from provisioning.engine.workflow import Done, Outcome, Step, StepContext, Workflow
from provisioning.models import Queue
from provisioning.workflows.doors import locked, opening, told, turn, turn_back
from tenants.audit import AuditAction
from tenants.events import EventType
from tenants.models import Placement, Tenant
from tenants.states import TenantState


@dataclass(frozen=True, slots=True)
class UndeleteInput:
    """Who, and the state it comes from: always deleted."""

    tenant_id: UUID
    was: str = TenantState.DELETED


def undeleted(ctx: StepContext) -> Outcome:
    """Active, however it stood before; what had never been made has only its failed onboarding to go back to."""
    tenant = locked(ctx)
    Tenant.objects.filter(pk=tenant.pk).update(delete_reason="", purge_at=None)
    placed = Placement.objects.filter(tenant=tenant, active=True).exists()
    tenant.to(TenantState.ACTIVE if placed else TenantState.FAILED)
    told(ctx, AuditAction.TENANT_UNDELETED, EventType.TENANT_UNDELETED)
    return Done()


UNDELETE = Workflow(
    name="undelete",
    version=1,
    queue=Queue.OPERATIONS,
    input=UndeleteInput,
    steps=(
        Step(
            name="call the purge off",
            do=turn(TenantState.RESUMING),
            undo=turn_back(TenantState.RESUMING),
            atomic=True,
        ),
        *opening(),
        Step(name="back again", do=undeleted, atomic=True, pivot=True),
    ),
)
