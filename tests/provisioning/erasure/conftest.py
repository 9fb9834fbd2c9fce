from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from django.utils import timezone

from tenants.context import TenantContext
from tenants.models import Cluster, Placement, Plan, Pool, Tenant
from tenants.states import Tier
from tests.provisioning.providers.conftest import remove_pools_bucket


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Two tenants of one pool by their rows alone; acme lived in a schema of its own before."""

    acme: TenantContext
    acme_before: TenantContext
    globex: TenantContext
    pool: Pool


@pytest.fixture
def neighbours(control: None) -> Iterator[Neighbours]:
    plan = Plan.objects.create(name="pool", tier=Tier.POOL, bucket_mode=Plan.BucketMode.PREFIX)
    cluster = Cluster.objects.create(
        name="local", region="local", capacity=9, sealed_url=b"", database="c", public_host="h"
    )
    pool = Pool.objects.create(cluster=cluster, schema="pool_1", sealed_password=b"")
    rows = {"plan": plan, "region": "local", "principal": "billing"}
    acme, globex = (Tenant.objects.create(slug=slug, name=slug.title(), **rows) for slug in ("acme", "globex"))
    where = {"cluster": cluster, "database": "c"}
    before = Placement.objects.create(
        tenant=acme, tier=Tier.SCHEMA, schema="t", active=False, retired_at=timezone.now(), **where
    )
    placed = [
        Placement.objects.create(tenant=each, tier=Tier.POOL, pool=pool, schema="pool_1", **where)
        for each in (acme, globex)
    ]
    yield Neighbours(placed[0].context(), before.context(), placed[1].context(), pool)
    remove_pools_bucket(pool.pk)
