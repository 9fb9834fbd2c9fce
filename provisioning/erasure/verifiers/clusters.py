"""Where verifiers look, and what stays in PostgreSQL although every row is gone."""

from collections.abc import Callable
from uuid import UUID

from provisioning.databases import vantage
from provisioning.databases.servers import Connection, ServerRefused
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


def unseen(tenant_id: UUID, role: str, look: Callable[[Connection, Cluster], str]) -> str:
    """What `role` cannot see on one of the tenant's clusters, in the words of `look`; empty if it sees everything."""
    for cluster in clusters_of(tenant_id):
        try:
            with vantage.standing(cluster, role=role) as connection:
                if says := look(connection, cluster):
                    return says
        except ServerRefused as refused:
            return f"{cluster.name} refused: {refused.metadata.get('sqlstate')}"
    return ""


def hides_rows(connection: Connection, cluster: Cluster, role: str, *tables: int) -> str:
    """Whether the control row, or these tables beside it, are out of the role's sight; empty if they are not."""
    control = vantage.control_table(connection)
    if control and not vantage.hidden(connection, [control, *tables]):
        return ""
    return f"rows are hidden from {role} on {cluster.name}"
