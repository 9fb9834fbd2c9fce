"""Where verifiers look, and what stays in PostgreSQL although every row is gone."""

from uuid import UUID

from provisioning.erasure.stores import Residue
from tenants.models import Cluster, Placement
from tenants.states import Tier

LEFT_BEHIND = (
    Residue("dead rows in the tables' files", "until the server reuses their pages", None),
    Residue("write-ahead log and base backups", "until the clusters' backups have run out", None),
)


def clusters_of(tenant_id: UUID) -> list[Cluster]:
    """Every cluster the tenant has or ever had a place on."""
    placed = Placement.objects.filter(tenant_id=tenant_id).values("cluster")
    return list(Cluster.objects.filter(pk__in=placed).order_by("name"))


def placements_of(tenant_id: UUID, tier: Tier) -> list[Placement]:
    return list(Placement.objects.filter(tenant_id=tenant_id, tier=tier).select_related("cluster").order_by("since"))
