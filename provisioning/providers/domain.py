"""The host name that leads to a tenant: a row of the control database, matched exactly by the routing seam."""

from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings

from provisioning.engine.rows import answer
from provisioning.errors import Permanent
from provisioning.models import Claim, Handle, ResourceKind
from tenants.context import TenantContext
from tenants.findings import Finding, Severity
from tenants.models import Domain

_LEADS_TO = "SELECT true FROM tenants_domain WHERE domain = %s AND tenant_id = %s"


class DomainTaken(Permanent):
    """The host name leads to another tenant."""

    code = "DOMAIN_TAKEN"
    cure = "Remove it there first, or choose another slug."


@dataclass(frozen=True, slots=True)
class HostName:
    """`<slug>.<TENANT_DOMAIN>`, lower case, without a port. Its rows are written in the transaction of their step."""

    kind = ResourceKind.DOMAIN

    def plan(self, tenant: TenantContext) -> Handle:
        return {"domain": f"{tenant.slug}.{settings.TENANT_DOMAIN}".lower()}

    def provision(self, tenant: TenantContext, handle: Handle, *, claim: Claim) -> None:  # noqa: ARG002  rows need no token
        name = Domain(domain=handle["domain"], tenant_id=tenant.tenant_id, is_primary=True)
        Domain.objects.bulk_create([name], ignore_conflicts=True)
        if not _leads_to(tenant, handle):
            raise DomainTaken(f"{handle['domain']} leads to another tenant.")

    def verify(self, tenant: TenantContext, handle: Handle) -> Iterator[Finding]:
        if not _leads_to(tenant, handle):
            yield Finding(
                code="domain.missing",
                severity=Severity.ERROR,
                subject=handle["domain"],
                message="The host name does not lead to this tenant.",
                hint="Retry the onboarding, or look for another tenant that has the name.",
            )

    def count(self, tenant: TenantContext, handle: Handle) -> int:  # noqa: ARG002  every name of the tenant counts
        return Domain.objects.filter(tenant_id=tenant.tenant_id).count()

    def erase(self, tenant: TenantContext, handle: Handle, *, limit: int) -> int:  # noqa: ARG002
        doomed = Domain.objects.filter(tenant_id=tenant.tenant_id).values_list("pk", flat=True)[:limit]
        removed, _by_model = Domain.objects.filter(pk__in=list(doomed)).delete()
        return removed

    def deprovision(self, tenant: TenantContext, handle: Handle, *, claim: Claim) -> None:  # noqa: ARG002
        Domain.objects.filter(domain=handle["domain"], tenant_id=tenant.tenant_id).delete()


def _leads_to(tenant: TenantContext, handle: Handle) -> bool:
    return answer(_LEADS_TO, [handle["domain"], tenant.tenant_id]) is not None
