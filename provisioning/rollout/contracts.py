"""Expand and contract: a release that takes something away waits until nothing older than its expand release runs."""

from __future__ import annotations

from provisioning.models import Release
from tenants.models import Placement, Pool
from tenants.states import KEEPS_ROWS

SHOWN = 100


def older_than_expand(release: Release) -> list[str]:
    """Who still runs what `release` takes away, anywhere in the fleet: the first SHOWN, by name. Empty: nobody does."""
    expand = Release.objects.filter(name=release.contracts).first() if release.contracts else None
    if expand is None or expand.published_at is None:
        return []
    new = list(
        Release.objects.filter(state=Release.State.PUBLISHED, published_at__gte=expand.published_at).values_list(
            "name", flat=True
        )
    )
    pools = Pool.objects.filter(placed__gt=0).exclude(release__in=new).select_related("cluster")
    own = Placement.objects.filter(active=True, pool=None, tenant__state__in=KEEPS_ROWS).exclude(
        tenant__release__in=new
    )
    names = own.order_by("tenant__slug").values_list("tenant__slug", "tenant__release")[:SHOWN]
    running = [f"{pool.schema} on {pool.cluster.name} ({pool.release})" for pool in pools]
    return [*running, *(f"{slug} ({on})" for slug, on in names)][:SHOWN]
