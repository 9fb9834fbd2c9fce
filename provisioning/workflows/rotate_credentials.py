"""A new password for a tenant's database role. Storage credentials need none: they are vended and end by themselves."""

from dataclasses import dataclass
from uuid import UUID

from provisioning.databases.tiers import LoginRole
from provisioning.engine.telling import ENGINE
from provisioning.engine.workflow import Done, Outcome, Step, StepContext, Workflow
from provisioning.errors import Permanent
from provisioning.models import Queue, Resource, ResourceKind
from provisioning.workflows.resources import PROVIDERS, context_of, keep
from tenants import events
from tenants.audit import AuditAction, ObjectType
from tenants.audit import write as audit
from tenants.events import EventType
from tenants.models import Tenant
from tenants.states import TenantState


@dataclass(frozen=True, slots=True)
class RotateInput:
    """Whose password."""

    tenant_id: UUID


def check_tenant(ctx: StepContext) -> Outcome:
    tenant = Tenant.objects.get(pk=ctx.tenant_id)
    if tenant.state != TenantState.ACTIVE:
        raise Permanent(f"Tenant {tenant.slug} is {tenant.state}; credentials are rotated for active tenants.")
    return Done()


def rotate_password(ctx: StepContext) -> Outcome:
    """The new password is sealed and kept before the server learns it: a crash in between is a rerun, no lockout."""
    resource = Resource.objects.of(ctx.tenant_id, ResourceKind.ROLE)
    LoginRole().rotate(context_of(ctx), resource.handle, claim=ctx.claim)
    return Done()


def verify_role(ctx: StepContext) -> Outcome:
    tenant, kind = context_of(ctx), ResourceKind.ROLE
    found = list(PROVIDERS[kind].verify(tenant, Resource.objects.of(ctx.tenant_id, kind).handle))
    return Done({"findings": len(found)}, also=lambda: keep(tenant, {kind: found}))


def tell(ctx: StepContext) -> Outcome:
    """Say so where integrations and auditors look."""
    events.record(EventType.CREDENTIAL_ROTATED, tenant_id=ctx.tenant_id, operation=ctx.run_id)
    audit(
        AuditAction.CREDENTIALS_ROTATED,
        actor=ENGINE,
        object=(ObjectType.TENANT, ctx.tenant_id),
        tenant=ctx.tenant_id,
        operation=ctx.run_id,
    )
    return Done()


ROTATE_CREDENTIALS = Workflow(
    name="rotate credentials",
    version=1,
    queue=Queue.OPERATIONS,
    input=RotateInput,
    steps=(
        Step(name="check tenant", do=check_tenant, changes_nothing=True),
        Step(name="rotate password", do=rotate_password, pivot=True),
        Step(name="verify role", do=verify_role),
        Step(name="tell", do=tell, atomic=True),
    ),
)
