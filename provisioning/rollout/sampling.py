"""Which targets of a plan are rehearsed: the largest, the oldest, and at least one for each way that is walked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from provisioning.databases import pool_rows
from provisioning.databases.replaying import Target
from provisioning.databases.servers import Connection, run, session
from provisioning.models import RolloutTarget
from provisioning.rollout.bringing import place_of
from provisioning.rollout.plan import Frozen
from provisioning.rollout.selection import Chosen
from tenants.models import Cluster, Placement, Pool, Tenant
from tenants.states import Tier

_SCHEMAS = """
    SELECT n.nspname::text, coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint
    FROM pg_namespace n LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relkind IN ('r', 'm')
    WHERE n.nspname = ANY (%s) GROUP BY n.nspname
"""
_DATABASES = "SELECT datname::text, pg_database_size(oid) FROM pg_database WHERE datname = ANY (%s)"


def sampled(frozen: Frozen, *, k: int) -> list[Chosen]:
    """The k largest targets, the oldest, and the largest on each way; the largest first. Raises ServerUnavailable."""
    targets = [target for target, _wave in frozen.targets]
    if not targets:
        return []
    sizes = _sizes(targets)
    by_size = sorted(targets, key=lambda each: (-sizes.get(_id(each), 0), each.order))
    ways = {(each.release, each.tier): each for each in reversed(by_size)}
    born = _born(targets)
    oldest = min(targets, key=lambda each: (born[_id(each)], each.order))
    wanted = {_id(each) for each in [*by_size[:k], oldest, *ways.values()]}
    return [each for each in by_size if _id(each) in wanted]


def placed(chosen: Chosen, *, k: int) -> Target:
    """Where it is; a pool with its k largest tenants alone. Raises ServerUnavailable."""
    row = RolloutTarget(
        tenant=Tenant.objects.get(pk=chosen.tenant_id) if chosen.tenant_id else None,
        pool=Pool.objects.select_related("cluster").get(pk=chosen.pool_id) if chosen.pool_id else None,
        cluster=Cluster.objects.get(pk=chosen.cluster_id),
    )
    target = place_of(row)
    if row.pool is None:
        return target
    with session(row.cluster) as connection:
        largest = pool_rows.largest(connection, target.schema, limit=k)
    living = Placement.objects.filter(pool=row.pool, active=True, tenant__in=largest)
    return replace(target, tenants=tuple(each.context() for each in living.select_related("tenant", "cluster")))


def _id(chosen: Chosen) -> UUID:
    return chosen.tenant_id or chosen.pool_id or UUID(int=0)


def _born(targets: Sequence[Chosen]) -> dict[UUID, datetime]:
    tenants = [each.tenant_id for each in targets if each.tenant_id]
    pools = [each.pool_id for each in targets if each.pool_id]
    return {
        **dict(Tenant.objects.filter(pk__in=tenants).values_list("pk", "created_at")),
        **dict(Pool.objects.filter(pk__in=pools).values_list("pk", "created_at")),
    }


def _sizes(targets: Sequence[Chosen]) -> dict[UUID, int]:
    """In bytes, with indexes and TOAST."""
    sizes: dict[UUID, int] = {}
    for cluster in Cluster.objects.filter(pk__in={each.cluster_id for each in targets}):
        here = [each for each in targets if each.cluster_id == cluster.pk]
        names = _names(here)
        with session(cluster) as connection:
            for tiers, query in (((Tier.SCHEMA, Tier.POOL), _SCHEMAS), ((Tier.DATABASE,), _DATABASES)):
                found = _asked(connection, query, (names[_id(each)] for each in here if each.tier in tiers))
                sizes.update({_id(each): found.get(names[_id(each)], 0) for each in here if each.tier in tiers})
    return sizes


def _names(targets: Sequence[Chosen]) -> Mapping[UUID, str]:
    """The schema of each, or its database."""
    tenants = [each.tenant_id for each in targets if each.tenant_id]
    pools = [each.pool_id for each in targets if each.pool_id]
    placements = Placement.objects.filter(active=True, tenant__in=tenants)
    names = {
        tenant: database if tier == Tier.DATABASE else schema
        for tenant, tier, database, schema in placements.values_list("tenant", "tier", "database", "schema")
    }
    return {**names, **dict(Pool.objects.filter(pk__in=pools).values_list("pk", "schema"))}


def _asked(connection: Connection, query: str, names: Iterable[str]) -> dict[str, int]:
    wanted = list(names)
    return {str(name): int(size) for name, size in run(connection, query, wanted)} if wanted else {}
