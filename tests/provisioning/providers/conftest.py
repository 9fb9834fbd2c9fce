from collections.abc import Iterator
from contextlib import suppress
from uuid import UUID, uuid4

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from provisioning.errors import Permanent, Transient
from provisioning.models import Claim
from provisioning.providers import Bucket
from provisioning.providers.s3 import s3_client
from tenants.context import TenantContext
from tenants.placement import pool_bucket
from tenants.states import Tier


def tenant_named(slug: str, *, pool_id: UUID | None = None) -> TenantContext:
    """A tenant as providers see it. Its id is new in each test: buckets and keys of tests cannot meet."""
    return TenantContext(
        tenant_id=uuid4(),
        incarnation=uuid4(),
        slug=slug,
        tier=Tier.POOL if pool_id else Tier.SCHEMA,
        cluster="local",
        database="tenure_cluster",
        schema="pool_1" if pool_id else f"t_{slug}",
        pool_id=pool_id,
    )


@pytest.fixture
def claim() -> Claim:
    return Claim(run_id=uuid4(), fence=1, token="7" * 64)


@pytest.fixture
def acme(claim: Claim) -> Iterator[TenantContext]:
    tenant = tenant_named("acme")
    yield tenant
    remove_bucket(tenant, claim)


@pytest.fixture
def globex(claim: Claim) -> Iterator[TenantContext]:
    """The neighbour, who must never notice."""
    tenant = tenant_named("globex")
    yield tenant
    remove_bucket(tenant, claim)


def remove_bucket(tenant: TenantContext, claim: Claim) -> None:
    with suppress(Permanent, Transient):  # a test may have stopped the store or closed the bucket
        Bucket().deprovision(tenant, Bucket().plan(tenant), claim=claim)


def remove_pools_bucket(pool_id: UUID) -> None:
    """Objects and all. Nothing of ours does: a pool's bucket outlives its tenants."""
    name = pool_bucket(pool_id)
    with suppress(ClientError, BotoCoreError):
        versions = s3_client().list_object_versions(Bucket=name)
        for item in (*versions.get("Versions", ()), *versions.get("DeleteMarkers", ())):
            s3_client().delete_object(Bucket=name, Key=item["Key"], VersionId=item["VersionId"])
        s3_client().delete_bucket(Bucket=name)
