"""Which targets are not what their release says, over the whole fleet or a part of it.

A target is what a release is brought to: a tenant's schema, a tenant's database, or a pool, however many tenants it
holds. Nothing here changes a target.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby
from operator import attrgetter
from uuid import UUID

from provisioning.databases import drift
from provisioning.databases.releases import release_named
from provisioning.databases.servers import Connection, ServerUnavailable, connect, server_errors
from provisioning.databases.stamp import prepare
from provisioning.errors import Permanent, Transient
from provisioning.models import AdoptedDrift
from tenants.errors import TenureError
from tenants.models import Cluster, Placement, Pool, Tenant
from tenants.states import Tier


class NoSuchTarget(TenureError):
    """There is no tenant and no pool of this name that has a release."""

    code = "NO_SUCH_TARGET"
    cure = "Name a tenant by its slug, or a pool by its cluster and schema: local-1/pool_1."


class State(StrEnum):
    """How a target stands. ADOPTED: it differs as somebody accepted it. AWAY: its server or release did not answer."""

    AS_RELEASED = "as released"
    DRIFTED = "drifted"
    ADOPTED = "adopted"
    AWAY = "away"


@dataclass(frozen=True, slots=True)
class Selection:
    """Targets that fit all that is given. `names`: as NoSuchTarget says; a tenant in a pool stands for its pool.

    `prefix` is how such a name begins.
    """

    names: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ()
    clusters: tuple[str, ...] = ()
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """One of `tenant_id` and `pool_id` is set. `database` and `schema` are names on the cluster."""

    name: str
    tier: Tier
    cluster: Cluster = field(repr=False)
    database: str
    schema: str
    release: str
    tenant_id: UUID | None = None
    pool_id: UUID | None = None

    def __str__(self) -> str:
        return self.name

    @property
    def pooled(self) -> bool:
        return self.tier == Tier.POOL

    @property
    def pk(self) -> UUID:
        """Of its tenant or pool."""
        if (pk := self.tenant_id or self.pool_id) is None:
            raise LookupError(f"{self.name} is neither a tenant's nor a pool.")
        return pk

    @property
    def owner(self) -> dict[str, UUID | None]:
        """As the columns of AdoptedDrift."""
        return {"tenant_id": self.tenant_id, "pool_id": self.pool_id}


@dataclass(frozen=True, slots=True)
class Standing:
    """One target: in which lines it differs, or for AWAY what was said. `stamp` is empty where it was not seen."""

    target: Target
    state: State
    lines: tuple[str, ...] = ()
    stamp: str = ""
    said: str = ""


def targets_of(selection: Selection) -> list[Target]:
    """As `order_of` has them. Raises NoSuchTarget when a name leads to none."""
    found = reached_by(selection)
    reached = {target.name for target in found} | _in_pools(selection, found)
    fits_all = not selection.tiers and not selection.clusters
    if fits_all and (strange := [name for name in selection.names if name not in reached]):
        raise NoSuchTarget(f"There is no target {', '.join(name[:60] for name in strange)}.")
    return found


def reached_by(selection: Selection) -> list[Target]:
    """As `targets_of`, and a name that leads to none is passed over: a filter that nothing fits is no mistake."""
    return sorted([*_tenants(selection), *_pools(selection)], key=order_of)


def order_of(target: Target) -> str:
    """By cluster, those of the shared database first. No two targets share it."""
    own = target.database != target.cluster.database
    return "\t".join((target.cluster.name, f"{own:d}", target.name))  # a tab is before all that a name may hold


def target_named(name: str) -> Target:
    """Raises NoSuchTarget."""
    (target,) = targets_of(Selection(names=(name,)))
    return target


def target_of(*, tenant_id: UUID | None = None, pool_id: UUID | None = None) -> Target:
    """Of a tenant, or a pool; a tenant in a pool stands for its pool. Raises NoSuchTarget."""
    name = ""
    if tenant_id is not None:
        found = Tenant.objects.filter(pk=tenant_id).first()
        name = found.slug if found else ""
    elif pool_id is not None:
        pool = Pool.objects.select_related("cluster").filter(pk=pool_id).first()
        name = f"{pool.cluster.name}/{pool.schema}" if pool else ""
    if not name:
        raise NoSuchTarget("There is no such tenant and no such pool.")
    return target_named(name)


def survey(targets: Sequence[Target]) -> Iterator[Standing]:
    """How each stands, as it is found: one session a cluster, one more for each tenant's own database.

    A server that is away is asked once; its targets are told as AWAY.
    """
    adopted = {each.tenant_id or each.pool_id: each for each in AdoptedDrift.objects.filter(ended_at=None)}
    for cluster, here in groupby(targets, key=attrgetter("cluster")):
        yield from _on(cluster, here, adopted)


def stands(target: Target) -> Standing:
    """How one target stands."""
    (standing,) = survey([target])
    return standing


def accepted(adopted: AdoptedDrift | None, lines: Iterable[str]) -> bool:
    """Whether somebody accepted that a target differs in these lines, and in no others."""
    return adopted is not None and set(adopted.lines) == set(lines)


def _on(cluster: Cluster, targets: Iterable[Target], adopted: dict[UUID | None, AdoptedDrift]) -> Iterator[Standing]:
    shared: Connection | None = None
    away = ""
    try:
        for target in targets:
            if not away and (shared is None or shared.closed):
                try:
                    shared = _prepared(cluster, cluster.database)
                except ServerUnavailable as error:
                    away = str(error)
            if away or shared is None:
                yield Standing(target, State.AWAY, said=away)
            else:
                yield _look(target, shared, adopted.get(target.pk))
    finally:
        if shared is not None:
            shared.close()


def _look(target: Target, shared: Connection, adopted: AdoptedDrift | None) -> Standing:
    try:
        with server_errors(target.name):
            if target.database == target.cluster.database:
                seen = _seen(target, shared)
            else:
                with _prepared(target.cluster, target.database) as own:
                    seen = _seen(target, own)
    except (Transient, Permanent) as error:
        return Standing(target, State.AWAY, said=str(error))
    if not seen.lines:
        return Standing(target, State.AS_RELEASED, stamp=seen.stamp)
    state = State.ADOPTED if accepted(adopted, seen.lines) else State.DRIFTED
    return Standing(target, state, seen.lines, seen.stamp)


def _seen(target: Target, connection: Connection) -> drift.Seen:
    return drift.look(connection, target.schema, release_named(target.release), pooled=target.pooled)


def _prepared(cluster: Cluster, database: str) -> Connection:
    connection = connect(cluster, database=database)
    with server_errors(cluster.name):
        prepare(connection)
    return connection


def _tenants(selection: Selection) -> Iterator[Target]:
    rows = Placement.objects.filter(active=True).exclude(tier=Tier.POOL).exclude(tenant__release="")
    if selection.names:
        rows = rows.filter(tenant__slug__in=selection.names)
    if selection.prefix:
        rows = rows.filter(tenant__slug__startswith=selection.prefix)
    if selection.tiers:
        rows = rows.filter(tier__in=selection.tiers)
    clusters = _clusters(selection)
    # Columns and no rows: a page of the list reads the whole fleet to find its own part.
    columns = ("tenant", "tenant__slug", "tier", "cluster", "database", "schema", "tenant__release")
    for pk, slug, tier, cluster, database, schema, release in rows.filter(cluster__in=clusters).values_list(*columns):
        yield Target(slug, Tier(tier), clusters[cluster], database, schema, release, tenant_id=pk)


def _pools(selection: Selection) -> Iterator[Target]:
    if selection.tiers and Tier.POOL not in selection.tiers:
        return
    clusters = _clusters(selection)
    wanted, prefix = {*selection.names}, selection.prefix
    placed = Placement.objects.filter(active=True, pool__isnull=False)
    inside = set(placed.filter(tenant__slug__in=wanted).values_list("pool", flat=True))
    begun = set(placed.filter(tenant__slug__startswith=prefix).values_list("pool", flat=True)) if prefix else set()
    for pool in Pool.objects.filter(ready_at__isnull=False, cluster__in=clusters):
        cluster = clusters[pool.cluster_id]
        name = f"{cluster.name}/{pool.schema}"
        named = not wanted or name in wanted or pool.pk in inside
        if named and (name.startswith(prefix) or pool.pk in begun):
            yield Target(name, Tier.POOL, cluster, cluster.database, pool.schema, pool.release, pool_id=pool.pk)


def _in_pools(selection: Selection, found: Iterable[Target]) -> set[str]:
    """The names that are slugs of tenants in these pools."""
    pools = [target.pool_id for target in found if target.pooled]
    rows = Placement.objects.filter(active=True, pool__in=pools, tenant__slug__in=selection.names)
    return set(rows.values_list("tenant__slug", flat=True))


def _clusters(selection: Selection) -> dict[UUID, Cluster]:
    rows = Cluster.objects.filter(name__in=selection.clusters) if selection.clusters else Cluster.objects.all()
    return {cluster.pk: cluster for cluster in rows}
