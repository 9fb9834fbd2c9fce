"""Nobody writes behind us: the tenant's life is closed, and whoever was inside then has left.

A context, task or cache key of the closed life is refused wherever incarnations are compared. A transaction that began
before goes on for as long as it likes, so it is waited for: see `databases.door`.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID, uuid4

from django.db.models import F
from django.db.models.functions import Now

from provisioning.databases.door import WITHIN, wait_until_left
from provisioning.databases.servers import connect, server_errors
from provisioning.erasure import sentinels
from provisioning.models import Claim, ErasureRequest, Resource, ResourceKind
from provisioning.providers import CacheNamespace
from tenants.models import Placement, Tenant
from tenants.placement import cache_namespace, pool_role, tenant_key
from tenants.states import Tier


def new_life(tenant_id: UUID) -> UUID:
    """Close the incarnation, whichever it is: the next one is nobody's yet. Part of the caller's transaction."""
    fresh = uuid4()
    Tenant.objects.filter(pk=tenant_id).update(incarnation=fresh, version=F("version") + 1, updated_at=Now())
    return fresh


def forget_cache(tenant: Tenant, claim: Claim) -> None:
    """What the closed life has left in the cache goes before another opens: nobody would look there again."""
    namespace = Resource.objects.filter(tenant=tenant, kind=ResourceKind.CACHE).first()
    if namespace is not None and tenant.placements.filter(active=True).exists():
        CacheNamespace().deprovision(tenant.context(), namespace.handle, claim=claim)
        sentinels.plant_in_cache(tenant.context())


def reopen(tenant_id: UUID) -> UUID:
    """Another life after a closed one, and its part of the cache. Part of the caller's transaction."""
    fresh = new_life(tenant_id)
    handle = {"namespace": cache_namespace(tenant_id, fresh)}
    Resource.objects.filter(tenant=tenant_id, kind=ResourceKind.CACHE).update(handle=handle)
    return fresh


def wait_for_old_transactions(request: ErasureRequest, *, within: timedelta = WITHIN) -> int:
    """Until every transaction of the tenant's roles that is open now has ended; how many had to be ended.

    On every cluster that it ever lived on. Raises door.StillInside, ServerUnavailable.
    """
    ended = 0
    for place in Placement.objects.filter(tenant=request.tenant_id).select_related("cluster"):
        roles = [tenant_key(request.tenant_id), *([pool_role(place.pool_id)] if place.pool_id else [])]
        database = place.database if place.tier == Tier.DATABASE and place.active else None
        with server_errors(place.cluster.name), connect(place.cluster, database=database) as connection:
            ended += wait_until_left(connection, roles, within=within)
    return ended
