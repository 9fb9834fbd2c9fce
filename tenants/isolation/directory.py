"""Who may come in: what an application's process reads of the directory before it opens a tenant's scope."""

from uuid import UUID

from tenants.context import TenantContext
from tenants.errors import NotAdmitted
from tenants.models import Tenant
from tenants.placement import tenant_key
from tenants.states import TenantState

COLUMNS = ("slug", "name", "state", "incarnation")  # of a tenant, that an application may read


def admitted(tenant_id: UUID, incarnation: UUID) -> TenantContext:
    """The context of an active tenant in the life that is meant. Raises NotAdmitted, or what the database raises."""
    tenant: Tenant | None = Tenant.objects.filter(pk=tenant_id).only(*COLUMNS).first()
    if tenant is None or tenant.incarnation != incarnation:
        raise NotAdmitted
    return let_in(tenant)


def let_in(tenant: Tenant) -> TenantContext:
    """The context of a row that was read just now. Raises NotAdmitted, with `state` and key, unless it is active."""
    if tenant.state != TenantState.ACTIVE:
        raise NotAdmitted(state=tenant.state, tenant=tenant_key(tenant.pk))
    return tenant.context()
