"""Everything a tenant can own, in the order it is made. A line here is also what puts a provider under test."""

from collections.abc import Iterator

from django.db.models.functions import Now
from django.utils import timezone

from provisioning.databases.tiers import LoginRole, TenantDatabase
from provisioning.engine.workflow import Body, Done, Outcome, StepContext
from provisioning.models import Provider, Resource, ResourceKind
from provisioning.providers import Bucket, CacheNamespace, DataKeys, HostName, StorageCredentialsProvider
from tenants.context import TenantContext
from tenants.findings import Finding
from tenants.models import Tenant

PROVIDERS: dict[ResourceKind, Provider] = {
    ResourceKind.DATA_KEY: DataKeys(),
    ResourceKind.DATABASE: TenantDatabase(),
    ResourceKind.ROLE: LoginRole(),
    ResourceKind.BUCKET: Bucket(),
    ResourceKind.STORAGE_CREDENTIALS: StorageCredentialsProvider(),
    ResourceKind.CACHE: CacheNamespace(),
    ResourceKind.DOMAIN: HostName(),
}


def context_of(ctx: StepContext) -> TenantContext:
    """The tenant of a step, as providers need it."""
    return Tenant.objects.get(pk=ctx.tenant_id).context()


def plan_resources(tenant: Tenant) -> None:
    """Write one planned row a resource, names and all, before anything is made. Repeatable; revives removed rows."""
    context = tenant.context()
    for kind, provider in PROVIDERS.items():
        Resource.objects.update_or_create(
            tenant=tenant,
            kind=kind,
            defaults={
                "handle": dict(provider.plan(context)),
                "state": Resource.State.PLANNED,
                "findings": [],
                "verified_at": None,
                "updated_at": timezone.now(),
            },
        )


def make(kind: ResourceKind) -> Body:
    """A step's body that makes the tenant's resource of this kind, or agrees with the one that is there."""

    def do(ctx: StepContext) -> Outcome:
        resource = Resource.objects.of(ctx.tenant_id, kind)
        PROVIDERS[kind].provision(context_of(ctx), resource.handle, claim=ctx.claim)
        mark(ctx, resource, Resource.State.READY)
        return Done({"handle": resource.handle})

    return do


def remove(kind: ResourceKind) -> Body:
    """A step's undo: the tenant's resource of this kind is gone afterwards, whether or not it was ever made."""

    def undo(ctx: StepContext) -> Outcome:
        resource = Resource.objects.of(ctx.tenant_id, kind)
        PROVIDERS[kind].deprovision(context_of(ctx), resource.handle, claim=ctx.claim)
        mark(ctx, resource, Resource.State.REMOVED)
        return Done()

    return undo


def add_domain(ctx: StepContext) -> Outcome:
    """The host name is a row of the control database: written in the transaction that records the step."""
    resource = Resource.objects.of(ctx.tenant_id, ResourceKind.DOMAIN)
    PROVIDERS[ResourceKind.DOMAIN].provision(context_of(ctx), resource.handle, claim=ctx.claim)
    Resource.objects.filter(pk=resource.pk).update(state=Resource.State.READY, updated_at=Now())
    return Done({"handle": resource.handle})


def remove_domain(ctx: StepContext) -> Outcome:
    resource = Resource.objects.of(ctx.tenant_id, ResourceKind.DOMAIN)
    PROVIDERS[ResourceKind.DOMAIN].deprovision(context_of(ctx), resource.handle, claim=ctx.claim)
    Resource.objects.filter(pk=resource.pk).update(state=Resource.State.REMOVED, updated_at=Now())
    return Done()


def mark(ctx: StepContext, resource: Resource, state: Resource.State) -> None:
    """Write the resource's state, unless another worker has the run by now."""
    with ctx.control():
        Resource.objects.filter(pk=resource.pk).update(state=state, updated_at=Now())


def observe(tenant: TenantContext) -> dict[ResourceKind, list[Finding]]:
    """What is wrong with each resource the tenant owns, observed now."""
    rows = Resource.objects.filter(tenant_id=tenant.tenant_id).exclude(state=Resource.State.REMOVED)
    handles = {ResourceKind(row.kind): row.handle for row in rows}
    return {
        kind: list(provider.verify(tenant, handles[kind])) for kind, provider in PROVIDERS.items() if kind in handles
    }


def keep(tenant: TenantContext, observed: dict[ResourceKind, list[Finding]]) -> None:
    """Keep what `observe` saw on the rows, with the time."""
    for kind, findings in observed.items():
        Resource.objects.filter(tenant_id=tenant.tenant_id, kind=kind).update(
            findings=[as_json(finding) for finding in findings], verified_at=Now()
        )


def as_json(finding: Finding) -> dict[str, str]:
    return {
        "code": finding.code,
        "severity": finding.severity.value,
        "subject": finding.subject,
        "message": finding.message,
        "hint": finding.hint,
    }


def serious(observed: dict[ResourceKind, list[Finding]]) -> Iterator[Finding]:
    """The findings that must not reach a customer: errors and worse."""
    for findings in observed.values():
        yield from (finding for finding in findings if finding.severity in {"error", "critical"})
