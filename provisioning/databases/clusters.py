"""The register of clusters, and where a new tenant is placed: the least full open one of its region."""

from collections import defaultdict
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import Count
from psycopg.conninfo import conninfo_to_dict

from provisioning.databases.ddl import DEDICATED_SCHEMA
from provisioning.databases.fitness import check_cluster, prepare_cluster
from provisioning.databases.layout import lay_out
from provisioning.databases.releases import NoRelease, current_release
from provisioning.databases.servers import sealed_url
from provisioning.errors import Permanent
from provisioning.models import RunLimit
from tenants.actions import Actor, AuditAction, ObjectType
from tenants.audit import write as audit
from tenants.findings import Finding
from tenants.models import Cluster, Placement, Tenant
from tenants.placement import tenant_key
from tenants.states import Tier

DEFAULT_CAPACITY = 1_000  # tenants
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
    is doubtful about its server. Raises ServerUnavailable, ClusterUnfit, ClusterElsewhere.
    """
    findings = check_cluster(url, subject=name)
    parts = conninfo_to_dict(url)
    cluster = Cluster.objects.filter(name=name).first() or Cluster(
        name=name, capacity=DEFAULT_CAPACITY, max_running=DEFAULT_MAX_RUNNING
    )
    if (
        cluster.database not in {"", parts["dbname"]}
        and Placement.objects.filter(cluster=cluster, active=True).exists()
    ):
        raise ClusterElsewhere(f"Tenants of {name} live in the database {cluster.database}, not in {parts['dbname']}.")
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
        cluster.save()
        _limit(cluster)
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


def choose_cluster(*, region: str) -> Cluster:
    """The least full open cluster of the region, by share of its capacity. Raises NoCapacity."""
    clusters, loads = list(Cluster.objects.order_by("name")), _loads()
    fitting = [cluster for cluster in clusters if not _why_not(cluster, region, loads[cluster.pk])]
    if not fitting:
        reasons = {cluster.name: _why_not(cluster, region, loads[cluster.pk]) for cluster in clusters}
        said = "; ".join(f"{name} is {why}" for name, why in reasons.items()) or "none is registered"
        raise NoCapacity(f"No cluster of region {region} can take a tenant: {said}.", clusters=reasons)
    return min(fitting, key=lambda cluster: (loads[cluster.pk] / cluster.capacity, cluster.name))


def reserve(tenant: Tenant, tier: Tier | str) -> Placement:
    """The tenant's place: its active placement if there is one, else a new one on the least full cluster.

    The cluster's row is locked and counted again, so that capacity holds however many ask at once. Inside the caller's
    transaction the lock lasts until that ends. Raises NoCapacity.
    """
    with transaction.atomic():
        placed: Placement | None = (
            Placement.objects.filter(tenant=tenant, active=True).select_related("cluster").first()
        )
        if placed is not None:
            return placed
        while True:
            chosen = choose_cluster(region=tenant.region)
            cluster = Cluster.objects.select_for_update().get(pk=chosen.pk)
            if not _why_not(cluster, tenant.region, _loads()[cluster.pk]):
                return Placement.objects.create(tenant=tenant, cluster=cluster, **_where(tenant, Tier(tier), cluster))
            # Somebody took the last place, or closed it, while we waited for the lock: choose again.


def release_placement(tenant: Tenant, *, at: datetime) -> None:
    """Give the tenant's place back. The row stays, as the record of where its rows were, or might have been."""
    Placement.objects.filter(tenant=tenant, active=True).update(active=False, retired_at=at)


def _where(tenant: Tenant, tier: Tier, cluster: Cluster) -> dict[str, str]:
    """Names derived from the tenant's id. See ddl's Note [One schema name in dedicated databases]."""
    key = tenant_key(tenant.pk)
    match tier:
        case Tier.SCHEMA:
            return {"tier": tier, "database": cluster.database, "schema": key}
        case Tier.DATABASE:
            return {"tier": tier, "database": key, "schema": DEDICATED_SCHEMA}


def _loads() -> defaultdict[UUID, int]:
    """How many tenants each cluster holds now, those that are being made among them."""
    counted = Placement.objects.filter(active=True).values_list("cluster").annotate(Count("pk"))
    return defaultdict(int, counted.order_by())


def _why_not(cluster: Cluster, region: str, load: int) -> str:
    """In a word or two; empty if the cluster can take a tenant of this region."""
    if cluster.region != region:
        return f"in region {cluster.region}"
    if cluster.state != Cluster.State.OPEN:
        return cluster.state
    if load >= cluster.capacity:
        return f"full ({load} of {cluster.capacity})"
    return ""


def _limit(cluster: Cluster) -> None:
    """The engine knows limits by key, not clusters."""
    RunLimit.objects.update_or_create(key=f"cluster:{cluster.name}", defaults={"max_running": cluster.max_running})


__all__ = [
    "ClusterElsewhere", "NoCapacity", "NoRelease", "change_cluster", "choose_cluster", "current_release",
    "register_cluster", "release_placement", "reserve",
]  # fmt: skip
