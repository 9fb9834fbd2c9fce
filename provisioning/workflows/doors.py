"""What suspending, resuming, deleting and undeleting are made of: a state in -ing, each door by itself, then the state.

# Note [The state first, then the doors]
Hosts, tokens, tasks and hand-outs ask for the tenant's state, so they refuse from the first step on, and nothing new is
vended. The doors on the servers are for what was handed out before. The final state comes after somebody has looked:
`suspended` means that every door is shut. Opened in the reverse order, so that nobody is let in to half a tenant.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from provisioning.engine.telling import ENGINE
from provisioning.engine.workflow import Body, Done, Outcome, Step, StepContext
from provisioning.errors import Transient
from provisioning.models import Handle, Resource, ResourceKind
from provisioning.workflows.resources import DOORS, context_of, keep, observe
from tenants import events
from tenants.audit import AuditAction, ObjectType
from tenants.audit import write as audit
from tenants.events import EventType
from tenants.models import Tenant
from tenants.states import TenantState

WORDS = {ResourceKind.BUCKET: "bucket", ResourceKind.DATABASE: "database", ResourceKind.ROLE: "role"}


class StillAjar(Transient):
    """Something still lets the tenant's people in. It was shut once more, and is looked at again."""

    code = "STILL_AJAR"


def turn(state: TenantState) -> Body:
    """A body that begins: the tenant is in a state in -ing, and whoever asks for it is refused."""

    def do(ctx: StepContext) -> Outcome:
        locked(ctx).to(state)
        told(ctx, AuditAction.TENANT_STATE_CHANGED)
        return Done()

    return do


def turn_back(state: TenantState) -> Body:
    """Its undo: back to where the tenant came from, which the input says (`was`)."""

    def undo(ctx: StepContext) -> Outcome:
        tenant = locked(ctx)
        if tenant.state == state:
            tenant.to(TenantState(ctx.input.was))
            told(ctx, AuditAction.TENANT_STATE_CHANGED)
        return Done()

    return undo


def shut(kind: ResourceKind) -> Body:
    """A body that shuts one door. The row says so first: a neighbour's bucket policy is written from those rows."""

    def do(ctx: StepContext) -> Outcome:
        if (handle := owned(ctx).get(kind)) is not None:
            with ctx.control():
                Resource.objects.shut(ctx.tenant_id, kind)
            DOORS[kind].shut(context_of(ctx), handle, claim=ctx.claim)
        return Done()

    return do


def open_up(kind: ResourceKind) -> Body:
    """A body that opens one door."""

    def do(ctx: StepContext) -> Outcome:
        if (handle := owned(ctx).get(kind)) is not None:
            with ctx.control():
                Resource.objects.open(ctx.tenant_id, kind)
            DOORS[kind].open(context_of(ctx), handle, claim=ctx.claim)
        return Done()

    return do


def open_if_it_was(kind: ResourceKind) -> Body:
    """The undo of shutting: who was suspended before stays so."""

    def undo(ctx: StepContext) -> Outcome:
        return open_up(kind)(ctx) if ctx.input.was == TenantState.ACTIVE else Done()

    return undo


def prove_shut(ctx: StepContext) -> Outcome:
    """Look at each door. Raises StillAjar, after it has shut once more what lets somebody in."""
    handles = owned(ctx)
    for kind, handle in handles.items():
        if found := list(DOORS[kind].ajar(context_of(ctx), handle)):
            DOORS[kind].shut(context_of(ctx), handle, claim=ctx.claim)
            raise StillAjar("; ".join(finding.message for finding in found))
    return Done({"doors": len(handles)})


def look(ctx: StepContext) -> Outcome:
    """Observe everything it owns, for its page. What is wrong was so before, or opening it would have failed."""
    if not owned(ctx):
        return Done()
    tenant = context_of(ctx)
    observed = observe(tenant)
    return Done({"findings": sum(map(len, observed.values()))}, also=lambda: keep(tenant, observed))


def shutting() -> Iterator[Step]:
    """One step a door, and a look at all of them."""
    for kind in DOORS:
        name = f"shut the {WORDS[kind]}"
        yield Step(name=name, do=shut(kind), undo=open_if_it_was(kind), timeout=timedelta(minutes=2))
    yield Step(name="prove that it is shut", do=prove_shut, changes_nothing=True, timeout=timedelta(minutes=2))


def opening() -> Iterator[Step]:
    """The same doors the other way round."""
    for kind in reversed(DOORS):
        yield Step(name=f"open the {WORDS[kind]}", do=open_up(kind), undo=shut(kind), timeout=timedelta(minutes=2))
    yield Step(name="look at what it owns", do=look, changes_nothing=True, timeout=timedelta(minutes=5))


def owned(ctx: StepContext) -> dict[ResourceKind, Handle]:
    """The doors that the tenant has: none, where its onboarding was undone."""
    rows = Resource.objects.filter(tenant=ctx.tenant_id, kind__in=list(DOORS), state=Resource.State.READY)
    handles = {ResourceKind(kind): handle for kind, handle in rows.values_list("kind", "handle")}
    return {kind: handles[kind] for kind in DOORS if kind in handles}


def locked(ctx: StepContext) -> Tenant:
    tenant: Tenant = Tenant.objects.select_for_update().get(pk=ctx.tenant_id)
    return tenant


def told(ctx: StepContext, action: AuditAction, event: EventType | None = None) -> None:
    """Say so where auditors look, and integrations."""
    if event is not None:
        events.record(event, tenant_id=ctx.tenant_id, operation=ctx.run_id)
    audit(
        action,
        actor=ENGINE,
        object=(ObjectType.TENANT, ctx.tenant_id),
        tenant=ctx.tenant_id,
        operation=ctx.run_id,
    )
