"""Onboarding: from an accepted wish to a tenant whose doors are open."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.utils import timezone

from provisioning.databases.clusters import NoRelease, release_placement, reserve
from provisioning.databases.releases import has_current
from provisioning.engine.rows import found
from provisioning.engine.telling import ENGINE
from provisioning.engine.workflow import Again, Body, Done, Outcome, Step, StepContext, Workflow
from provisioning.erasure import sentinels
from provisioning.errors import Permanent
from provisioning.models import Queue, ResourceKind
from provisioning.rollout.holding import at_work_in
from provisioning.workflows.resources import (
    add_domain,
    context_of,
    handle_of,
    keep,
    make,
    observe,
    plan_resources,
    remove,
    remove_domain,
    serious,
)
from tenants import events
from tenants.audit import AuditAction, ObjectType
from tenants.audit import write as audit
from tenants.context import TenantContext
from tenants.events import EventType
from tenants.models import Placement, Tenant
from tenants.states import TenantState, Tier

WHILE_MIGRATED = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class OnboardInput:
    """The tenant row holds the wish, `wish` its hash; the incarnation tells this life from an earlier attempt."""

    tenant_id: UUID
    incarnation: UUID
    tier: str
    wish: str = ""


class VerificationFailed(Permanent):
    """What was made for the tenant is not as planned."""

    code = "VERIFICATION_FAILED"
    cure = "Read the findings on the tenant's resources, remove the cause, and retry the onboarding."


def validate(ctx: StepContext) -> Outcome:
    """Refuse early what cannot end well: no release to copy, or a tenant that is not waiting to be made."""
    if not has_current():
        raise NoRelease
    tenant = found(Tenant, "id = %s", [ctx.tenant_id])
    assert tenant is not None  # noqa: S101  tenants are never deleted
    if tenant.state != TenantState.PROVISIONING:
        raise Permanent(f"Tenant {tenant.slug} is {tenant.state}, not provisioning.")
    return Done()


def mark_failed(ctx: StepContext) -> Outcome:
    """The end of an undone onboarding: only the row is left, with its slug, visible and ready for a retry."""
    tenant = Tenant.objects.select_for_update().get(pk=ctx.tenant_id)
    if tenant.state == TenantState.PROVISIONING:
        release_placement(tenant, at=timezone.now())  # reserved when the wish was accepted, before any step
        tenant.to(TenantState.FAILED)
        events.record(EventType.TENANT_ONBOARDING_FAILED, tenant_id=tenant.pk, operation=ctx.run_id)
        state_changed(ctx)
    return Done()


def reserve_placement(ctx: StepContext) -> Outcome:
    """Accepting reserved a place; this confirms it and writes down every name before anything is made.

    The release of a pool's tables is among them, so this waits while a rollout changes it.
    """
    try:
        tenant = context_of(ctx)
    except Placement.DoesNotExist:
        reserve(Tenant.objects.get(pk=ctx.tenant_id), Tier(ctx.input.tier))
        tenant = context_of(ctx)
    if (rollout := at_work_in(tenant.pool_id, since=ctx.run.created_at)) is not None:
        return Again(WHILE_MIGRATED, note=f"Rollout {rollout.public_id} is at work in its pool.")
    plan_resources(tenant)
    return Done({"cluster": tenant.cluster, "database": tenant.database, "schema": tenant.schema})


def give_placement_back(ctx: StepContext) -> Outcome:
    """The place is free for another tenant; the row stays, as the record of where this one's rows might have been."""
    release_placement(Tenant.objects.get(pk=ctx.tenant_id), at=timezone.now())
    return Done()


def verify(ctx: StepContext) -> Outcome:
    """Look at everything that was made, through the providers' own eyes. Raises VerificationFailed."""
    tenant = context_of(ctx)
    observed = observe(tenant)
    if wrong := list(serious(observed)):
        with ctx.control():
            keep(tenant, observed)
        raise VerificationFailed("; ".join(f"{finding.subject}: {finding.message}" for finding in wrong))
    counts = {"verified": len(observed), "findings": sum(len(found) for found in observed.values())}
    return Done(counts, also=lambda: keep(tenant, observed))


def activate(ctx: StepContext) -> Outcome:
    """Open the doors: the state is the last thing that changes."""
    tenant = Tenant.objects.select_for_update().only("slug", "state").get(pk=ctx.tenant_id)
    copied = handle_of(ctx, ResourceKind.DATABASE)["release"]  # another may be current by now
    tenant.to(TenantState.ACTIVE, release=copied)
    events.record(EventType.TENANT_ACTIVATED, tenant_id=tenant.pk, operation=ctx.run_id)
    state_changed(ctx)
    return Done()


def state_changed(ctx: StepContext) -> None:
    audit(
        AuditAction.TENANT_STATE_CHANGED,
        actor=ENGINE,
        object=(ObjectType.TENANT, ctx.tenant_id),
        tenant=ctx.tenant_id,
        operation=ctx.run_id,
    )


def create(
    name: str, kind: ResourceKind, *, plant: Callable[[TenantContext], None] | None = None, minutes: int = 2
) -> Step:
    """A step that makes one kind of resource, and plants a sentinel in it; undone by removing it, sentinel and all."""
    do = make(kind) if plant is None else planted(make(kind), plant)
    return Step(name=name, do=do, undo=remove(kind), timeout=timedelta(minutes=minutes))


def planted(made: Body, plant: Callable[[TenantContext], None]) -> Body:
    def do(ctx: StepContext) -> Outcome:
        outcome = made(ctx)
        plant(context_of(ctx))
        return outcome

    return do


ONBOARD = Workflow(
    name="onboard",
    version=1,
    queue=Queue.OPERATIONS,
    input=OnboardInput,
    steps=(
        Step(name="validate", do=validate, undo=mark_failed, atomic=True),
        Step(name="reserve placement", do=reserve_placement, undo=give_placement_back, atomic=True),
        create("create data key", ResourceKind.DATA_KEY),
        create("create database", ResourceKind.DATABASE, minutes=10),
        create("create role", ResourceKind.ROLE),
        create("create bucket", ResourceKind.BUCKET, plant=sentinels.plant_in_bucket),
        create("prove credentials", ResourceKind.STORAGE_CREDENTIALS),
        create("open cache namespace", ResourceKind.CACHE, plant=sentinels.plant_in_cache),
        Step(name="add domain", do=add_domain, undo=remove_domain, atomic=True),
        Step(name="verify", do=verify, changes_nothing=True, timeout=timedelta(minutes=5)),
        Step(name="activate", do=activate, atomic=True, pivot=True),
    ),
)
