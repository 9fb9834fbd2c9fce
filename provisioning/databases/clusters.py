"""The register of clusters, and where a new tenant is placed: the least full open one of its region."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F
from psycopg.conninfo import conninfo_to_dict

from provisioning.databases import pools
from provisioning.databases.ddl import DEDICATED_SCHEMA
from provisioning.databases.fitness import check_cluster, prepare_cluster
from provisioning.databases.layout import lay_out
from provisioning.databases.pools import ReleaseCannotBePooled, change_pool
from provisioning.databases.releases import NoRelease, current_release
from provisioning.databases.servers import sealed_url, url_of
from provisioning.databases.signing import mark
from provisioning.errors import Permanent
from provisioning.models import RunLimit
from tenants.actions import Actor, AuditAction, ObjectType
from tenants.audit import write as audit
from tenants.findings import Finding
from tenants.isolation.crypto import SealError
from tenants.models import Cluster, Placement, Pool, Tenant
from tenants.placement import tenant_key
from tenants.states import Tier

DEFAULT_CAPACITY = 10_000  # tenants: that is one pool of them; a thousand with tables of their own is another matter
REGISTERED = ("region", "sealed_url", "database", "capacity", "max_running", "public_host", "public_port")
DEFAULT_MAX_RUNNING = 4  # operations at once


class NoCapacity(Permanent):
    """No cluster can take another tenant of this region. `metadata["clusters"]` says for each why not."""

    code = "NO_CAPACITY"
    cure = "Register another cluster, raise a capacity, or open a closed one; then ask again."


class ClusterElsewhere(Permanent):
    """A registered cluster's URL would point at another database while tenants live in the former one."""

    code = "CLUSTER_ELSEWHERE"
    cure = "Register the other database under a name of its own."


def register_cluster(
    *,
    name: str,
    url: str,
    region: str,
    actor: Actor,
    capacity: int | None = None,
    max_running: int | None = None,
    public_host: str = "",
    public_port: int | None = None,
) -> tuple[Cluster, list[Finding]]:
    """Check a server, prepare it, and take it into the register; again with the same name to change its URL.

    What is not given keeps its value, or gets a default: the public address is the URL's. Returns the cluster and what
    is doubtful about its server. What changes nothing, as at each start of a control plane, is not in the audit
    log. Raises ServerUnavailable, ClusterUnfit, ClusterElsewhere.
    """
    findings = check_cluster(url, subject=name)
    parts = conninfo_to_dict(url)
    cluster = Cluster.objects.filter(name=name).first() or Cluster(
        name=name,
        capacity=DEFAULT_CAPACITY,
        max_running=DEFAULT_MAX_RUNNING,
        context_secret=mark(settings.TENURE_CONTEXT_SECRET),
    )
    if (
        cluster.database not in {"", parts["dbname"]}
        and Placement.objects.filter(cluster=cluster, active=True).exists()
    ):
        raise ClusterElsewhere(f"Tenants of {name} live in the database {cluster.database}, not in {parts['dbname']}.")
    former = None if cluster._state.adding else _registered(cluster)  # noqa: SLF001
    cluster.region = region
    cluster.sealed_url = sealed_url(url, cluster)
    cluster.database = str(parts["dbname"])
    cluster.capacity = cluster.capacity if capacity is None else capacity
    cluster.max_running = cluster.max_running if max_running is None else max_running
    cluster.public_host = public_host or cluster.public_host or str(parts.get("host") or "localhost")
    cluster.public_port = public_port or int(str(parts.get("port") or 5432))
    cluster.full_clean(exclude=["sealed_url"], validate_unique=False)
    prepare_cluster(cluster)
    with transaction.atomic():
        cluster.save(update_fields=None if cluster._state.adding else REGISTERED)  # noqa: SLF001  never `placed`
        _limit(cluster)
        if _registered(cluster) != former:
            audit(AuditAction.CLUSTER_REGISTERED, actor=actor, object=(ObjectType.CLUSTER, cluster.pk))
    if (release := current_release()) is not None:
        lay_out(release, cluster)
    return cluster, findings


def change_cluster(
    *,
    cluster: Cluster,
    actor: Actor,
    state: str | None = None,
    capacity: int | None = None,
    max_running: int | None = None,
) -> Cluster:
    """Open, drain or close a cluster, or change its limits. A capacity below what it holds only stops new tenants."""
    asked = {"state": state, "capacity": capacity, "max_running": max_running}
    with transaction.atomic():
        cluster = Cluster.objects.select_for_update().get(pk=cluster.pk)
        for field, value in asked.items():
            if value is not None:
                setattr(cluster, field, value)
        cluster.full_clean(exclude=["sealed_url"])
        cluster.save(update_fields=list(asked))
        _limit(cluster)
        audit(AuditAction.CLUSTER_CHANGED, actor=actor, object=(ObjectType.CLUSTER, cluster.pk))
    return cluster


def choose_cluster(*, region: str, tier: Tier = Tier.SCHEMA) -> Cluster:
    """The least full open cluster of the region, by share of its capacity. Raises NoCapacity."""
    clusters = list(Cluster.objects.order_by("name"))
    fitting = [cluster for cluster in clusters if not _why_not(cluster, region)]
    if not fitting:
        reasons = {cluster.name: _reason(cluster, region, tier) for cluster in clusters}
        said = "; ".join(f"{name} is {why}" for name, why in reasons.items()) or "none is registered"
        raise NoCapacity(f"No cluster of region {region} can take a tenant: {said}.", clusters=reasons)
    return min(fitting, key=lambda cluster: (cluster.placed / cluster.capacity, cluster.name))


def foresee(*, region: str, tier: Tier) -> tuple[Cluster, Pool | None]:
    """Where `reserve` would place a tenant now; the pool may be one that is not made yet. Raises as that does."""
    cluster = choose_cluster(region=region, tier=tier)
    return cluster, pools.next_pool(cluster) if tier == Tier.POOL else None


def reserve(tenant: Tenant, tier: Tier | str) -> Placement:
    """The tenant's place: its active placement if there is one, else a new one on the least full cluster.

    The cluster's row is locked and looked at again, so that capacity holds however many ask at once. Inside the
    caller's transaction the lock lasts until that ends. Raises NoCapacity, ReleaseCannotBePooled.

    # Note [Places are counted as they are taken]
    `Cluster.placed` and `Pool.placed` are numbers in the locked row, or each tenant would count all those before it:
    the ten-thousandth must be as quick as the first. Giving a place back, which is rare, counts anew.
    """
    with transaction.atomic():
        placed: Placement | None = (
            Placement.objects.filter(tenant=tenant, active=True).select_related("cluster").first()
        )
        if placed is not None:
            return placed
        while True:
            chosen = choose_cluster(region=tenant.region, tier=Tier(tier))
            cluster = Cluster.objects.select_for_update().get(pk=chosen.pk)
            if not _why_not(cluster, tenant.region):
                (placement,) = _place([tenant], Tier(tier), cluster)
                return placement
            # Somebody took the last place, or closed it, while we waited for the lock: choose again.


def reserve_together(tenants: Sequence[Tenant], tier: Tier) -> None:
    """A place for each of these tenants of one region, who have none yet: as many as it takes go to one cluster.

    All of them or none. Raises as `reserve` does.
    """
    left = list(tenants)
    with transaction.atomic():
        while left:
            chosen = choose_cluster(region=left[0].region, tier=tier)
            cluster = Cluster.objects.select_for_update().get(pk=chosen.pk)
            if not _why_not(cluster, left[0].region):
                left = left[len(_place(left, tier, cluster)) :]


def _place(tenants: Sequence[Tenant], tier: Tier, cluster: Cluster) -> list[Placement]:
    """Place the first of the tenants, as many as there is room for, on a locked cluster."""
    here, pool = tenants[: cluster.capacity - cluster.placed], None
    if tier == Tier.POOL:
        pool, taken = pools.take_places(cluster, len(here))
        here = here[:taken]
    Cluster.objects.filter(pk=cluster.pk).update(placed=F("placed") + len(here))
    return Placement.objects.bulk_create(
        Placement(tenant=tenant, cluster=cluster, **_where(tenant, tier, cluster, pool)) for tenant in here
    )


def release_placement(tenant: Tenant, *, at: datetime) -> None:
    """Give the tenant's place back. The row stays, as the record of where its rows were, or might have been."""
    with transaction.atomic():
        placed = Placement.objects.filter(tenant=tenant, active=True).select_related("pool").first()
        if placed is None:
            return
        Cluster.objects.select_for_update().get(pk=placed.cluster_id)
        Placement.objects.filter(pk=placed.pk).update(active=False, retired_at=at)
        here = Placement.objects.filter(cluster=placed.cluster_id, active=True)
        Cluster.objects.filter(pk=placed.cluster_id).update(placed=here.count())
        if placed.pool is not None:
            pools.recount(placed.pool)


def _where(tenant: Tenant, tier: Tier, cluster: Cluster, pool: Pool | None) -> dict[str, Any]:
    """Names derived from the tenant's id. See ddl's Note [One schema name in dedicated databases]."""
    key = tenant_key(tenant.pk)
    if pool is not None:
        return {"tier": tier, "pool": pool, "database": cluster.database, "schema": pool.schema}
    if tier == Tier.DATABASE:
        return {"tier": tier, "database": key, "schema": DEDICATED_SCHEMA}
    return {"tier": tier, "database": cluster.database, "schema": key}


def _why_not(cluster: Cluster, region: str) -> str:
    """In a word or two; empty if the cluster can take a tenant of this region."""
    if cluster.region != region:
        return f"in region {cluster.region}"
    if cluster.state != Cluster.State.OPEN:
        return cluster.state
    if cluster.placed >= cluster.capacity:
        return f"full ({cluster.placed} of {cluster.capacity})"
    return ""


def _reason(cluster: Cluster, region: str, tier: Tier) -> str:
    """Why not, and for a tenant of a pool how the pools there stand."""
    why, stand = _why_not(cluster, region), pools.said(cluster) if tier == Tier.POOL else ""
    return f"{why}; there {stand}" if stand else why


def _registered(cluster: Cluster) -> dict[str, Any]:
    """What registering sets. A sealed text differs each time, so the URL is compared open."""
    try:
        opened: str | None = url_of(cluster)
    except SealError:  # sealed with another master key: that is a change
        opened = None
    return {**{field: getattr(cluster, field) for field in REGISTERED if field != "sealed_url"}, "url": opened}


def _limit(cluster: Cluster) -> None:
    """The engine knows limits by key, not clusters."""
    RunLimit.objects.update_or_create(key=f"cluster:{cluster.name}", defaults={"max_running": cluster.max_running})


__all__ = [
    "ClusterElsewhere", "NoCapacity", "NoRelease", "ReleaseCannotBePooled", "change_cluster", "change_pool",
    "choose_cluster", "foresee", "register_cluster", "release_placement", "reserve", "reserve_together",
]  # fmt: skip
