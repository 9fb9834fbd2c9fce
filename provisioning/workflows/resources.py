"""Everything a tenant can own, in the order it is made. A line here is also what puts a provider under test."""

from collections.abc import Iterator

from provisioning.databases.tiers import LoginRole, TenantDatabase
from provisioning.engine.rows import NOW, Changes, answer, listed
from provisioning.engine.workflow import Body, Done, Outcome, StepContext
from provisioning.models import Handle, Provider, Resource, ResourceKind, Shuttable
from provisioning.providers import Bucket, CacheNamespace, DataKeys, HostName, StorageCredentialsProvider
from tenants.context import TenantContext
from tenants.findings import Finding
from tenants.models import Placement
from tenants.states import Tier

PROVIDERS: dict[ResourceKind, Provider] = {
    ResourceKind.DATA_KEY: DataKeys(),
    ResourceKind.DATABASE: TenantDatabase(),
    ResourceKind.ROLE: LoginRole(),
    ResourceKind.BUCKET: Bucket(),
    ResourceKind.STORAGE_CREDENTIALS: StorageCredentialsProvider(),
    ResourceKind.CACHE: CacheNamespace(),
    ResourceKind.DOMAIN: HostName(),
}

DOORS: dict[ResourceKind, Shuttable] = {
    ResourceKind.BUCKET: Bucket(),
    ResourceKind.DATABASE: TenantDatabase(),
    ResourceKind.ROLE: LoginRole(),
}
"""Through which somebody comes in from outside, in the order they are shut. Hosts, tokens, tasks and hand-outs ask for
the tenant's state: they need no door."""

_PLACED = """
SELECT t.id, t.incarnation, t.slug, p.tier, c.name, p.database, p.schema, p.pool_id
FROM tenants_placement p JOIN tenants_tenant t ON t.id = p.tenant_id JOIN tenants_cluster c ON c.id = p.cluster_id
WHERE p.tenant_id = %s AND p.active
"""


def context_of(ctx: StepContext) -> TenantContext:
    """The tenant of a step, as providers need it."""
    if "tenant" not in ctx.known:
        if (found := answer(_PLACED, [ctx.tenant_id])) is None:
            raise Placement.DoesNotExist
        tenant_id, incarnation, slug, tier, *place = found
        ctx.known["tenant"] = TenantContext(tenant_id, incarnation, slug, Tier(tier), *place)
    context: TenantContext = ctx.known["tenant"]
    return context


def handle_of(ctx: StepContext, kind: ResourceKind) -> Handle:
    """What the tenant's provider of this kind needs to find its thing."""
    handle: Handle = _resource(ctx, kind).handle
    return handle


def _resource(ctx: StepContext, kind: ResourceKind) -> Resource:
    if "resources" not in ctx.known:
        ctx.known["resources"] = {each.kind: each for each in listed(Resource, "tenant_id = %s", [ctx.tenant_id])}
    resource: Resource = ctx.known["resources"][kind]
    return resource


def _marked(ctx: StepContext, kind: ResourceKind, state: Resource.State) -> tuple[Resource, Changes]:
    return _resource(ctx, kind), {"state": state, "updated_at": NOW}


def plan_resources(tenant: TenantContext) -> None:
    """Write one planned row a resource, names and all, before anything is made. Repeatable; revives removed rows."""
    Resource.objects.plan(tenant.tenant_id, {kind: provider.plan(tenant) for kind, provider in PROVIDERS.items()})


def make(kind: ResourceKind) -> Body:
    """A step's body that makes the tenant's resource of this kind, or agrees with the one that is there."""

    def do(ctx: StepContext) -> Outcome:
        handle = handle_of(ctx, kind)
        PROVIDERS[kind].provision(context_of(ctx), handle, claim=ctx.claim)
        return Done({"handle": handle}, rows=(_marked(ctx, kind, Resource.State.READY),))

    return do


def remove(kind: ResourceKind) -> Body:
    """A step's undo: the tenant's resource of this kind is gone afterwards, whether or not it was ever made."""

    def undo(ctx: StepContext) -> Outcome:
        PROVIDERS[kind].deprovision(context_of(ctx), handle_of(ctx, kind), claim=ctx.claim)
        return Done(rows=(_marked(ctx, kind, Resource.State.REMOVED),))

    return undo


def add_domain(ctx: StepContext) -> Outcome:
    """The host name is a row of the control database: written in the transaction that records the step."""
    handle = handle_of(ctx, ResourceKind.DOMAIN)
    PROVIDERS[ResourceKind.DOMAIN].provision(context_of(ctx), handle, claim=ctx.claim)
    return Done({"handle": handle}, rows=(_marked(ctx, ResourceKind.DOMAIN, Resource.State.READY),))


def remove_domain(ctx: StepContext) -> Outcome:
    handle = handle_of(ctx, ResourceKind.DOMAIN)
    PROVIDERS[ResourceKind.DOMAIN].deprovision(context_of(ctx), handle, claim=ctx.claim)
    return Done(rows=(_marked(ctx, ResourceKind.DOMAIN, Resource.State.REMOVED),))


def observe(tenant: TenantContext) -> dict[ResourceKind, list[Finding]]:
    """What is wrong with each resource the tenant owns, observed now."""
    rows = listed(Resource, "tenant_id = %s AND state <> %s", [tenant.tenant_id, Resource.State.REMOVED])
    handles = {row.kind: row.handle for row in rows}
    return {
        kind: list(provider.verify(tenant, handles[kind])) for kind, provider in PROVIDERS.items() if kind in handles
    }


def keep(tenant: TenantContext, observed: dict[ResourceKind, list[Finding]]) -> None:
    """Keep what `observe` saw on the rows, with the time."""
    Resource.objects.keep(
        tenant.tenant_id, {kind: [finding.as_json() for finding in found] for kind, found in observed.items()}
    )


def serious(observed: dict[ResourceKind, list[Finding]]) -> Iterator[Finding]:
    """The findings that must not reach a customer: errors and worse."""
    for findings in observed.values():
        yield from (finding for finding in findings if finding.severity in {"error", "critical"})
