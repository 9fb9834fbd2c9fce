from collections.abc import Iterator
from contextlib import suppress
from uuid import uuid4

import pytest

from provisioning.errors import Permanent, Transient
from provisioning.models import Claim
from provisioning.providers import Bucket
from tenants.context import TenantContext
from tenants.states import Tier


def tenant_named(slug: str) -> TenantContext:
    """A tenant as providers see it. Its id is new in each test: buckets and keys of tests cannot meet."""
    return TenantContext(
        tenant_id=uuid4(),
        incarnation=uuid4(),
        slug=slug,
        tier=Tier.SCHEMA,
        cluster="local",
        database="tenure_cluster",
        schema=f"t_{slug}",
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
