"""What the verbs of the lifecycle share: is this a repeat, is it allowed, whose lock and limit does it take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db.models import Q

from provisioning.databases.roles import RoleIsShared
from provisioning.engine.start import start
from provisioning.engine.workflow import Workflow
from provisioning.errors import KeyReused, ReasonMissing
from provisioning.models import Resource, ResourceKind, Run
from provisioning.workflows.onboard import ONBOARD, OnboardInput
from provisioning.workflows.wishes import (
    CheckedWish,
    FieldError,
    InvalidWish,
    TenantExists,
    TenantWish,
    label_errors,
    text_errors,
)
from tenants.audit import Actor
from tenants.errors import StateConflict
from tenants.models import Cluster, Plan, Pool, Tenant
from tenants.states import TenantState, Tier

SHARED_ROLE = Q(kind=ResourceKind.ROLE, handle__shared=True)
VERBS: dict[str, frozenset[TenantState]] = {
    "retry": frozenset({TenantState.FAILED}),
    "credentials": frozenset({TenantState.ACTIVE}),
    "rotate_credentials": frozenset({TenantState.ACTIVE}),
    "suspend": frozenset({TenantState.ACTIVE}),
    "resume": frozenset({TenantState.SUSPENDED}),
    "delete": frozenset({TenantState.ACTIVE, TenantState.SUSPENDED, TenantState.FAILED}),
    "undelete": frozenset({TenantState.DELETED}),
    "export": frozenset({TenantState.ACTIVE, TenantState.SUSPENDED, TenantState.DELETED}),
}
"""Which states allow which verb on a tenant. The same table answers what may be done and refuses what may not."""


def start_onboarding(
    tenant: Tenant, *, actor: Actor, key: str, request_id: str, wish: str = "", reason: str = ""
) -> Run:
    asked = OnboardInput(tenant_id=tenant.pk, incarnation=tenant.incarnation, tier=tenant.plan.tier, wish=wish)
    return started(ONBOARD, asked, tenant, actor=actor, key=key, reason=reason, request_id=request_id)


def started(
    workflow: Workflow, asked: Any, tenant: Tenant, *, actor: Actor, key: str, reason: str = "", request_id: str = ""
) -> Run:
    """An operation on one tenant: it holds the tenant's lock, and counts against the limit of its cluster."""
    return start(
        workflow,
        input=asked,
        tenant_id=tenant.pk,
        lock_key=lock_of(tenant),
        limit_key=limit_of(tenant),
        actor=actor,
        key=key,
        reason=reason,
        request_id=request_id,
    )


def new_tenant(asked: CheckedWish) -> Tenant:
    """Not saved yet."""
    wish = asked.wish
    return Tenant(
        slug=wish.slug,
        name=wish.name,
        principal=wish.principal,
        external_ref=wish.external_ref,
        plan=asked.plan,
        region=asked.region,
        labels=wish.labels,
    )


def repeated(actor: Actor, key: str) -> Run | None:
    """The run that this request started before, if it is a repeat."""
    return Run.objects.select_related("tenant").filter(actor=str(actor), key=key).first()


def same_wish(run: Run, wish: TenantWish) -> Run:
    if run.input.get("wish") != wish.digest:
        raise KeyReused(f"This key started {run.public_id} before.", operation=run.public_id)
    return run


def repeat_of(workflow: Workflow, tenant: Tenant, actor: Actor, key: str) -> Run | None:
    """The operation that this very request started before. Raises KeyReused for any other that had the key."""
    known = repeated(actor, key)
    if known is not None and (known.tenant_id, known.workflow) != (tenant.pk, workflow.name):
        raise KeyReused(f"This key started {known.public_id} before.", operation=known.public_id)
    return known


def exists(other: Tenant, wish: TenantWish) -> TenantExists:
    """The id is told only to the principal whose tenant it is."""
    if other.principal == wish.principal:
        return TenantExists(f"Tenant {other.slug} exists already.", tenant=other.public_id)
    return TenantExists(f"The slug {wish.slug} is taken.")


def allow(verb: str, tenant: Tenant) -> None:
    if tenant.state not in VERBS[verb]:
        allowed = " or ".join(sorted(VERBS[verb]))
        raise StateConflict(f"Tenant {tenant.slug} is {tenant.state}; this needs {allowed}.", state=tenant.state)


def shares_its_role(tenant: Tenant) -> bool:
    """Whether it logs in as the role of its pool."""
    return Resource.objects.filter(SHARED_ROLE, tenant=tenant).exists()


def refuse_shared_role(tenant: Tenant) -> None:
    if (row := Resource.objects.filter(SHARED_ROLE, tenant=tenant).first()) is not None:
        raise RoleIsShared(f"{tenant.slug} logs in as {row.handle['role']}, which its pool shares.")


def foreseen(asked: CheckedWish, cluster: Cluster, pool: Pool | None) -> list[str]:
    """What an onboarding makes on the servers, in words: what stands there already is not named as made."""
    role = f"role t_<id> on {cluster.name}"
    if pool is None:
        what = "schema" if asked.tier == Tier.SCHEMA else "database"
        return [f"{what} t_<id> on {cluster.name}", role, "bucket t-<id>"]
    made = [] if pool.ready_at else [f"pool {pool} on {cluster.name}, with its tables, role and bucket"]
    own = [role] if asked.plan.own_role else []
    return [*made, f"rows of t_<id> in {pool} on {cluster.name}", *own, f"prefix t_<id>/ of the bucket of {pool}"]


def need(reason: str) -> None:
    if not reason.strip():
        raise ReasonMissing


def checked_changes(tenant: Tenant, changes: Mapping[str, Any]) -> dict[str, Any]:
    fields = dict(changes)
    wish = TenantWish(
        slug=tenant.slug,
        name=fields.get("name", tenant.name),
        plan="",
        principal=tenant.principal,
        labels=fields.get("labels", {}),
    )
    errors = [*text_errors(wish), *label_errors(wish.labels)]
    if "plan" in fields:
        fields["plan"] = Plan.objects.filter(name=fields["plan"]).first()
        if fields["plan"] is None:
            errors.append(FieldError("plan", "UNKNOWN_PLAN", "There is no such plan. `GET /api/v1/plans` lists them."))
    if errors:
        raise InvalidWish(errors)
    return fields


def lock_of(tenant: Tenant) -> str:
    return f"tenant:{tenant.pk}"


def limit_of(tenant: Tenant) -> str | None:
    """Work on one cluster counts against that cluster's limit. None: it is placed nowhere, so it works on none."""
    placed = tenant.placements.select_related("cluster").filter(active=True).first()
    return None if placed is None else f"cluster:{placed.cluster.name}"


def as_uuid(request_id: str) -> UUID | None:
    return UUID(request_id) if request_id else None
