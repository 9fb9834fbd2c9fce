"""Tenants for tests of the database side: a row, a place, a database and a role, without the rest of onboarding."""

from dataclasses import dataclass, replace
from uuid import UUID, uuid4

from provisioning.databases import pool, roles
from provisioning.databases.clusters import reserve
from provisioning.databases.roles import is_shared
from provisioning.databases.tiers import LoginRole, TenantDatabase
from provisioning.models import Claim, Handle, Secret
from tenants.context import TenantContext
from tenants.models import Plan, Tenant
from tenants.states import Tier
from tests.fleet import PLANS

FENCES = iter(range(1_000, 1_000_000))


def new_claim(run_id: UUID | None = None) -> Claim:
    """Newer than every claim before it in this test session."""
    return Claim(run_id=run_id or uuid4(), fence=next(FENCES), token="7" * 64)


def make_tenant(slug: str, tier: Tier, *, own_role: bool = False) -> "Made":
    plan = plan_with_role() if own_role else Plan.objects.get(name=PLANS[tier])
    row = Tenant.objects.create(slug=slug, name=slug.title(), principal="billing", plan=plan, region="local")
    reserve(row, tier)
    context = row.context()
    return Made(context, TenantDatabase().plan(context), LoginRole().plan(context))


def plan_with_role() -> Plan:
    """In a pool, with a login role of the tenant's own."""
    plan, _made = Plan.objects.get_or_create(
        name="pool-own-role", defaults={"tier": Tier.POOL, "bucket_mode": "prefix", "own_role": True}
    )
    return plan


@dataclass(frozen=True, slots=True)
class Made:
    context: TenantContext
    database: Handle
    role: Handle

    def provision(self, *, role: bool = True, claim: Claim | None = None) -> None:
        claim = claim or new_claim()
        TenantDatabase().provision(self.context, self.database, claim=claim)
        if role:
            LoginRole().provision(self.context, self.role, claim=claim)

    def remove(self) -> None:
        claim = new_claim()
        LoginRole().deprovision(self.context, self.role, claim=claim)
        TenantDatabase().deprovision(self.context, self.database, claim=claim)

    def findings(self) -> list[str]:
        """Codes of what is wrong with database and role, looked at now."""
        pool.look_again()
        roles.look_again()
        found = [*TenantDatabase().verify(self.context, self.database)]
        if is_shared(self.role) or Secret.objects.filter(tenant_id=self.context.tenant_id).exists():
            found += LoginRole().verify(self.context, self.role)
        return sorted({finding.code for finding in found})

    def count(self) -> int:
        return TenantDatabase().count(self.context, self.database)

    def called(self, slug: str) -> "Made":
        return replace(self, context=replace(self.context, slug=slug))
