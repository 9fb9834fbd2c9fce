"""What every provider promises, over all of this package's kinds."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.conf import settings as project
from django.db import connections
from redis import Redis

from provisioning.errors import Transient
from provisioning.models import Claim, DataKey, Provider, Resource, ResourceKind
from provisioning.providers import Bucket, CacheNamespace, DataKeys, StorageCredentialsProvider, policies, shutting
from provisioning.providers.bucket import look_again
from provisioning.providers.s3 import s3_client
from provisioning.workflows import resources as workflows
from tenants.context import TenantContext
from tenants.findings import Severity
from tenants.models import Plan, Tenant
from tenants.placement import pool_bucket
from tests.provisioning.providers.conftest import remove_bucket, remove_pools_bucket, tenant_named


def put_objects(tenant: TenantContext, handle: Any, items: int) -> None:
    for number in range(items):
        s3_client().put_object(Bucket=handle["bucket"], Key=f"{handle.get('prefix', '')}file-{number}", Body=b"content")


def put_cache_keys(tenant: TenantContext, handle: Any, items: int) -> None:
    with Redis.from_url(project.CACHE_URL) as cache:
        for number in range(items):
            cache.set(f"{handle['namespace']}key-{number}", "content")


def leave_as_made(tenant: TenantContext, handle: Any, items: int) -> None:
    """A data key is its own item; credentials have none."""


@dataclass(frozen=True)
class Kind:
    """A provider, what must stand before it, how to put items in, and how many 3 and 2 items count as."""

    provider: Provider
    fill: Callable[[TenantContext, Any, int], None]
    counted: tuple[int, int]
    before: tuple[Provider, ...] = ()
    pooled: bool = False


KINDS = {
    "bucket": Kind(Bucket(), put_objects, counted=(3, 2)),
    "storage_credentials": Kind(StorageCredentialsProvider(), leave_as_made, counted=(0, 0), before=(Bucket(),)),
    "bucket in a pool": Kind(Bucket(), put_objects, counted=(3, 2), pooled=True),
    "storage_credentials in a pool": Kind(
        StorageCredentialsProvider(), leave_as_made, counted=(0, 0), before=(Bucket(),), pooled=True
    ),
    "data_key": Kind(DataKeys(), leave_as_made, counted=(1, 1)),
    "cache": Kind(CacheNamespace(), put_cache_keys, counted=(3, 2)),
}


@pytest.fixture(params=KINDS.values(), ids=list(KINDS))
def kind(request: pytest.FixtureRequest) -> Kind:
    """One of them."""
    chosen: Kind = request.param
    if isinstance(chosen.provider, DataKeys):
        request.getfixturevalue("control")  # the others have no rows
    return chosen


@pytest.fixture
def pool_id(kind: Kind) -> Iterator[UUID | None]:
    """Of the pool that acme and globex are in, if the kind is one of pools."""
    look_again()
    made = uuid4() if kind.pooled else None
    yield made
    if made:
        remove_pools_bucket(made)


@pytest.fixture
def acme(pool_id: UUID | None, claim: Claim) -> Iterator[TenantContext]:
    tenant = tenant_named("acme", pool_id=pool_id)
    yield tenant
    remove_bucket(tenant, claim)


@pytest.fixture
def globex(pool_id: UUID | None, claim: Claim) -> Iterator[TenantContext]:
    tenant = tenant_named("globex", pool_id=pool_id)
    yield tenant
    remove_bucket(tenant, claim)


def make(kind: Kind, tenant: TenantContext, claim: Claim) -> Any:
    for provider in (*kind.before, kind.provider):
        provider.provision(tenant, provider.plan(tenant), claim=claim)
    return kind.provider.plan(tenant)


def faults(kind: Kind, tenant: TenantContext) -> list[str]:
    """Findings above INFO, which only says what this store cannot do."""
    found = kind.provider.verify(tenant, kind.provider.plan(tenant))
    return [finding.code for finding in found if finding.severity != Severity.INFO]


def test_is_listed_under_its_own_kind() -> None:
    assert {name: str(kind.provider.kind) for name, kind in KINDS.items()} == {
        name: name.removesuffix(" in a pool") for name in KINDS
    }


def test_a_plan_is_the_same_each_time_and_holds_no_secret(kind: Kind, acme: TenantContext) -> None:
    assert kind.provider.plan(acme) == kind.provider.plan(acme)
    assert set(kind.provider.plan(acme)) <= {"bucket", "prefix", "namespace", "owner_ref", "purpose"}


def test_provisions_twice_and_finds_nothing_wrong(kind: Kind, acme: TenantContext, claim: Claim) -> None:
    for _attempt in range(2):
        make(kind, acme, claim)
    assert faults(kind, acme) == []


def test_erases_acme_to_zero_and_spares_globex(
    kind: Kind, acme: TenantContext, globex: TenantContext, claim: Claim
) -> None:
    ours, theirs = make(kind, acme, claim), make(kind, globex, claim)
    kind.fill(acme, ours, 3)
    kind.fill(globex, theirs, 2)
    assert (kind.provider.count(acme, ours), kind.provider.count(globex, theirs)) == kind.counted
    rounds = [kind.provider.erase(acme, ours, limit=2) for _round in range(4)]
    assert max(rounds) <= 2
    assert rounds[-1] == 0
    assert (kind.provider.count(acme, ours), kind.provider.count(globex, theirs)) == (0, kind.counted[1])
    assert faults(kind, globex) == []


def test_deprovisions_twice_and_counts_zero(kind: Kind, acme: TenantContext, claim: Claim) -> None:
    handle = make(kind, acme, claim)
    kind.fill(acme, handle, 3)
    for _attempt in range(2):
        kind.provider.deprovision(acme, handle, claim=claim)
    assert kind.provider.count(acme, handle) == 0


def test_deprovisions_what_was_never_made(kind: Kind, acme: TenantContext, claim: Claim) -> None:
    handle = kind.provider.plan(acme)
    kind.provider.deprovision(acme, handle, claim=claim)
    assert (kind.provider.count(acme, handle), kind.provider.erase(acme, handle, limit=5)) == (0, 0)


def test_can_be_made_again_after_it_was_removed(kind: Kind, acme: TenantContext, claim: Claim) -> None:
    """An onboarding that failed and was undone may be asked for again."""
    make(kind, acme, claim)
    kind.provider.deprovision(acme, kind.provider.plan(acme), claim=claim)
    make(kind, acme, claim)
    assert faults(kind, acme) == []


DOORS = [name for name, kind in KINDS.items() if kind.provider.kind in workflows.DOORS]


def test_every_kind_that_can_be_shut_says_so() -> None:
    """What lets somebody in from outside. Databases and roles are in tests/provisioning/databases/test_doors.py."""
    able = {str(kind) for kind, each in workflows.PROVIDERS.items() if hasattr(each, "shut")}
    assert able == {str(kind) for kind in workflows.DOORS} == {"bucket", "database", "role"}


@pytest.mark.parametrize("kind", [KINDS[name] for name in DOORS], ids=DOORS, indirect=True)
@pytest.mark.usefixtures("control")
def test_shut_it_lets_nobody_in_and_keeps_everything_and_others_come_and_go(
    kind: Kind, acme: TenantContext, globex: TenantContext, claim: Claim
) -> None:
    provider = workflows.DOORS[kind.provider.kind]
    ours, theirs = make(kind, acme, claim), make(kind, globex, claim)
    kind.fill(acme, ours, 3)
    before = policies.statements(ours["bucket"])
    assert [finding.code for finding in provider.ajar(acme, ours)] == ["bucket.ajar"]
    for _attempt in range(2):
        provider.shut(acme, ours, claim=claim)
    assert (list(provider.ajar(acme, ours)), provider.count(acme, ours)) == ([], kind.counted[0])
    assert [each for each in policies.statements(ours["bucket"]) if not each["Sid"].startswith("DenyShut")] == before
    assert list(provider.ajar(globex, theirs)) != []
    for _attempt in range(2):
        provider.open(acme, ours, claim=claim)
    assert (policies.statements(ours["bucket"]), faults(kind, acme)) == (before, [])
    provider.deprovision(acme, ours, claim=claim)
    provider.shut(acme, ours, claim=claim)  # what is gone lets nobody in
    assert list(provider.ajar(acme, ours)) == []


@pytest.mark.usefixtures("control")
def test_a_pools_policy_names_all_that_were_shut_lately_and_no_others(acme: TenantContext, claim: Claim) -> None:
    """Two are shut at once: whoever writes last has seen the other's row, or looks again and writes again."""
    pool = uuid4()
    first, second = tenant_named("first", pool_id=pool), tenant_named("second", pool_id=pool)
    plan = Plan.objects.create(name="pool", tier="pool", bucket_mode="prefix")
    for each in (first, second):
        Bucket().provision(each, Bucket().plan(each), claim=claim)
        row = Tenant(pk=each.tenant_id, slug=each.slug, name=each.slug, principal="b", plan=plan, region="r")
        row.save(force_insert=True)
        Resource.objects.plan(each.tenant_id, {ResourceKind.BUCKET: Bucket().plan(each)})
        Resource.objects.shut(each.tenant_id, ResourceKind.BUCKET)
    Bucket().shut(first, Bucket().plan(first), claim=claim)
    assert list(Bucket().ajar(second, Bucket().plan(second))) == []
    Resource.objects.filter(tenant_id=first.tenant_id).update(shut_at="2020-01-01T00:00Z")
    Bucket().shut(second, Bucket().plan(second), claim=claim)
    assert shutting.denied(pool_bucket(pool)) == {second.tenant_id.hex}
    remove_pools_bucket(pool)


@pytest.fixture
def silent_servers(settings: Any) -> Iterator[None]:
    """Every server's address leads to a closed port of this machine."""
    settings.S3_ENDPOINT_URL, settings.CACHE_URL = "http://127.0.0.1:9", "redis://127.0.0.1:9/1"
    keyring = connections["keyring"]
    keyring.close()
    port, keyring.settings_dict["PORT"] = keyring.settings_dict["PORT"], "9"
    yield
    keyring.close()
    keyring.settings_dict["PORT"] = port


@pytest.mark.usefixtures("silent_servers")
@pytest.mark.parametrize("act", ["provision", "verify", "count", "erase", "deprovision"])
def test_silence_is_transient_and_never_an_answer(kind: Kind, act: str, acme: TenantContext, claim: Claim) -> None:
    handle = kind.provider.plan(acme)
    calls: dict[str, Callable[[], object]] = {
        "provision": lambda: kind.provider.provision(acme, handle, claim=claim),
        "verify": lambda: list(kind.provider.verify(acme, handle)),
        "count": lambda: kind.provider.count(acme, handle),
        "erase": lambda: kind.provider.erase(acme, handle, limit=5),
        "deprovision": lambda: kind.provider.deprovision(acme, handle, claim=claim),
    }
    if isinstance(kind.provider, StorageCredentialsProvider) and act in {"count", "erase", "deprovision"}:
        calls[act]()  # it keeps nothing, so it asks nobody
        return
    with pytest.raises(Transient):
        calls[act]()


@pytest.mark.usefixtures("control")
def test_only_one_key_is_ever_usable(acme: TenantContext, claim: Claim) -> None:
    keys = DataKeys()
    for _life in range(2):
        keys.provision(acme, keys.plan(acme), claim=claim)
        keys.deprovision(acme, keys.plan(acme), claim=claim)
    keys.provision(acme, keys.plan(acme), claim=claim)
    states = sorted(DataKey.objects.filter(owner_ref=acme.tenant_id).values_list("state", flat=True))
    assert states == ["active", "destroyed", "destroyed"]
