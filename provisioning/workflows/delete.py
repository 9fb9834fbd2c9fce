"""Deleting: shut as by suspending. The data stays until the purge date, and only an erasure takes it away then."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.utils import timezone

from provisioning.engine.workflow import Done, Outcome, Step, StepContext, Workflow
from provisioning.models import Queue
from provisioning.workflows.doors import locked, shutting, told, turn, turn_back
from tenants.audit import AuditAction
from tenants.events import EventType
from tenants.models import Tenant
from tenants.states import TenantState


@dataclass(frozen=True, slots=True)
class DeleteInput:
    """Who, the state it comes from, why (a DeleteReason), and how many days its data is kept."""

    tenant_id: UUID
    was: str
    delete_reason: str
    keep_days: int


def deleted(ctx: StepContext) -> Outcome:
    """The days count from when it is shut, so that who hesitates has all of them."""
    tenant = locked(ctx)
    purge_at = timezone.now() + timedelta(days=ctx.input.keep_days)
    Tenant.objects.filter(pk=tenant.pk).update(delete_reason=ctx.input.delete_reason, purge_at=purge_at)
    tenant.to(TenantState.DELETED)
    told(ctx, AuditAction.TENANT_DELETED, EventType.TENANT_DELETED)
    return Done({"purge_at": purge_at.isoformat()})


DELETE = Workflow(
    name="delete",
    version=1,
    queue=Queue.OPERATIONS,
    input=DeleteInput,
    steps=(
        Step(
            name="refuse whoever asks",
            do=turn(TenantState.DELETING),
            undo=turn_back(TenantState.DELETING),
            atomic=True,
        ),
        *shutting(),
        Step(name="deleted", do=deleted, atomic=True, pivot=True),
    ),
)
