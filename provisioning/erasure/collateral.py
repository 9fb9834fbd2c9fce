"""What an erasure must not have touched: rows of neighbours, and everybody else's schemas, databases and roles.

Rows of a tenant at work change by themselves; so what is compared is tenants that nobody works for meanwhile: those
that are shut, before anything is deleted and after. One that was opened, changed or taken to another release since is
compared no more, and no certificate counts it.
"""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from uuid import UUID

from psycopg import sql

from provisioning.databases import pooling, vantage
from provisioning.erasure.stores import Tally
from provisioning.errors import Permanent
from provisioning.models import ErasureRequest
from tenants.context import TenantContext
from tenants.models import Cluster, Placement
from tenants.placement import tenant_key
from tenants.states import KEEPS_ROWS, TenantState, Tier

STANDING = (TenantState.SUSPENDED, TenantState.DELETED)
MOST_COMPARED = 3  # of a cluster, the pool's first: each is read whole, twice
Hashes = Mapping[str, tuple[int, str]]
"""By table: how many rows, and two sums of 64-bit hashes over them: of any size, and whatever order they lie in."""

_TABLES = """
    SELECT c.relname::text, EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = %(column)s)
    FROM pg_class c WHERE c.relnamespace = to_regnamespace(%(schema)s) AND c.relkind IN ('r', 'm') ORDER BY 1
"""
_OTHERS = """
    SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname ~ '^(t|pool)_' AND nspname <> %(key)s
    UNION ALL SELECT 'database ' || datname FROM pg_database WHERE datname <> %(key)s
    UNION ALL SELECT 'role ' || rolname FROM pg_roles WHERE rolname ~ '^[tpg]_[0-9a-f]{32}$' AND rolname <> %(key)s
"""


@dataclass(frozen=True, slots=True)
class Compared:
    """How many neighbours stood before and after, and how many of them were not the same."""

    same: int
    changed: int


class Collateral(Permanent):
    """An erasure deleted more than its plan had counted, or what is not the tenant's has changed."""

    code = "COLLATERAL"
    cure = "Nothing more is deleted. Compare what is named with a backup before anything else is done."


def hashes_of(tenant: TenantContext) -> Hashes:
    """Over each table that holds rows of the tenant. Raises ServerUnavailable, ServerRefused."""
    cluster = Cluster.objects.get(name=tenant.cluster)
    with vantage.standing(cluster, database=tenant.database) as connection:
        given = {"schema": tenant.schema, "column": pooling.TENANT_ID}
        found = {}
        for table, pooled in vantage.ask(connection, _TABLES, given):
            if tenant.tier == Tier.POOL and not pooled:
                continue
            whose = sql.SQL("row.{} = %(tenant)s" if tenant.tier == Tier.POOL else "true").format(
                *([sql.Identifier(pooling.TENANT_ID)] if tenant.tier == Tier.POOL else [])
            )
            question = sql.SQL(
                "SELECT count(*), concat_ws("
                "':', sum(hashtextextended(row::text, 0)), sum(hashtextextended(row::text, 1))) FROM {} AS row WHERE {}"
            ).format(sql.Identifier(tenant.schema, table), whose)
            ((number, digest),) = vantage.ask(connection, question, {"tenant": tenant.tenant_id})
            found[str(table)] = (int(number), str(digest))
    return found


def others_on(cluster: Cluster, key: str) -> frozenset[str]:
    """Schemas, databases and roles of tenants and pools that are not of this tenant (`t_<hex>`)."""
    with vantage.standing(cluster) as connection:
        return frozenset(str(what) for (what,) in vantage.ask(connection, _OTHERS, {"key": key}))


def missing_on(cluster: Cluster, tenant_id: UUID) -> list[str]:
    """Schemas, databases and roles that other tenants live in on this cluster, by their rows, and that are not there.

    Raises ServerUnavailable, ServerRefused.
    """
    placed = Placement.objects.filter(cluster=cluster, active=True, tenant__state__in=KEEPS_ROWS)
    expected = set[str]()
    for place in placed.exclude(tenant=tenant_id).select_related("tenant"):
        if place.database != cluster.database:
            expected.add(f"database {place.database}")
        else:
            expected.add(f"schema {place.schema}")
        if place.tier != Tier.POOL:
            expected.add(f"role {tenant_key(place.tenant_id)}")
    return sorted(expected - others_on(cluster, tenant_key(tenant_id)))


def standing_beside(tenant_id: UUID, *, quiet_since: datetime) -> dict[str, str]:
    """By a neighbour as it stands (`<id> <version>`), the SHA-256 over its rows.

    Whatever opens or changes one raises its version. Looked at are those on the tenant's clusters that were shut before
    `quiet_since`; one that cannot be read whole is left out. Raises ServerUnavailable.
    """
    places = Placement.objects.filter(active=True, tenant__state__in=STANDING, tenant__state_since__lte=quiet_since)
    places = places.exclude(tenant=tenant_id).select_related("tenant", "cluster").order_by("pool", "tenant")
    own = Placement.objects.filter(tenant=tenant_id)
    found = dict[str, str]()
    for cluster in own.values_list("cluster", flat=True).distinct():
        here = places.filter(cluster=cluster)
        near = here.filter(pool__in=own.filter(cluster=cluster).exclude(pool=None).values("pool"))
        chosen = {place.pk: place for place in (*near[:MOST_COMPARED], *here[:MOST_COMPARED])}
        for place in list(chosen.values())[:MOST_COMPARED]:
            found |= _hashed(place)
    return found


def compared(before: Mapping[str, str], *, since: datetime) -> Compared:
    """What `standing_beside` saw, seen again. `since`: of neighbours in whom a person was erased later nothing is said.

    Raises ServerUnavailable.
    """
    same = changed = 0
    for name, digest in before.items():
        whose = UUID(name.partition(" ")[0])
        if ErasureRequest.objects.filter(tenant=whose, destroy_started_at__gte=since).exists():
            continue
        place = (
            Placement.objects.filter(tenant=whose, active=True, tenant__state__in=STANDING)
            .select_related("tenant")
            .first()
        )
        now = _hashed(place) if place is not None else {}
        if name in now:
            same, changed = same + (now[name] == digest), changed + (now[name] != digest)
    return Compared(same, changed)


def _hashed(place: Placement) -> dict[str, str]:
    with suppress(Permanent):  # too large for the time a question may take, say: then it is not compared
        rows = json.dumps(hashes_of(place.context()), sort_keys=True)
        return {f"{place.tenant_id} {place.tenant.version}": sha256(rows.encode()).hexdigest()}
    return {}


def refuse_difference(before: Hashes, after: Hashes, *, whose: UUID) -> None:
    """Raises Collateral, which names the tables."""
    if changed := sorted(table for table in before.keys() | after.keys() if before.get(table) != after.get(table)):
        raise Collateral(f"Rows of {whose} changed in {', '.join(changed)}.", tables=changed)


def refuse_excess(planned: Iterable[Tally], deleted: int, *, store: str) -> None:
    """Of a whole tenant never more is deleted than was counted behind the fence. Raises Collateral."""
    most = sum(tally.n or 0 for tally in planned)
    if deleted > most:
        raise Collateral(f"{store} deleted {deleted} items where {most} were planned.", deleted=deleted, planned=most)
