"""Attacks with acme's vended credentials on globex's prefix of one bucket, each with its control on its own prefix."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
from botocore.exceptions import ClientError

from provisioning.models import Claim
from provisioning.providers import Bucket, StorageCredentialsProvider, vend
from provisioning.providers.bucket import NotOwnBucket, look_again
from provisioning.providers.s3 import error_code, s3_client
from tenants.context import TenantContext
from tenants.findings import Severity
from tests.provisioning.providers.conftest import remove_pools_bucket, tenant_named

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Attack = Callable[["S3Client", str, str, str], object]

# Called with a client, the bucket, its own prefix and the one it tries to reach. Below both lies an object "secret".
ATTACKS: dict[str, Attack] = {
    "lists it": lambda s3, b, _own, target: s3.list_objects_v2(Bucket=b, Prefix=target),
    "lists it by folder": lambda s3, b, _own, target: s3.list_objects_v2(Bucket=b, Prefix=target, Delimiter="/"),
    "lists its versions": lambda s3, b, _own, target: s3.list_object_versions(Bucket=b, Prefix=target),
    "reads an object": lambda s3, b, _own, target: s3.get_object(Bucket=b, Key=f"{target}secret"),
    "reads an object's tags": lambda s3, b, _own, target: s3.get_object_tagging(Bucket=b, Key=f"{target}secret"),
    "asks about an object": lambda s3, b, _own, target: s3.head_object(Bucket=b, Key=f"{target}secret"),
    "copies out of it": lambda s3, b, own, target: s3.copy_object(
        Bucket=b, Key=f"{own}stolen", CopySource={"Bucket": b, "Key": f"{target}secret"}
    ),
    "copies into it": lambda s3, b, own, target: s3.copy_object(
        Bucket=b, Key=f"{target}planted", CopySource={"Bucket": b, "Key": f"{own}secret"}
    ),
    "puts an object": lambda s3, b, _own, target: s3.put_object(Bucket=b, Key=f"{target}planted", Body=b"1"),
    "begins an upload": lambda s3, b, _own, target: s3.create_multipart_upload(Bucket=b, Key=f"{target}planted"),
    "deletes an object": lambda s3, b, _own, target: s3.delete_object(Bucket=b, Key=f"{target}secret"),
    "deletes several objects": lambda s3, b, _own, target: deleted(s3, b, f"{target}secret"),
}
# Nothing of the bucket as a whole is a tenant's.
OVERREACHES: dict[str, Attack] = {
    "lists the bucket": lambda s3, b, _own, _target: s3.list_objects_v2(Bucket=b),
    "lists the bucket with an empty prefix": lambda s3, b, _own, _target: s3.list_objects_v2(Bucket=b, Prefix=""),
    "lists by the first letter": lambda s3, b, _own, _target: s3.list_objects_v2(Bucket=b, Prefix="t_"),
    "lists without its slash": lambda s3, b, own, _target: s3.list_objects_v2(Bucket=b, Prefix=own.rstrip("/")),
    "lists all uploads": lambda s3, b, _own, _target: s3.list_multipart_uploads(Bucket=b),
    "lists all versions": lambda s3, b, _own, _target: s3.list_object_versions(Bucket=b),
    "puts beside its slash": lambda s3, b, own, _target: s3.put_object(Bucket=b, Key=f"{own.rstrip('/')}0/x", Body=b""),
    "ends versioning": lambda s3, b, _own, _target: s3.put_bucket_versioning(
        Bucket=b, VersioningConfiguration={"Status": "Suspended"}
    ),
    "deletes the bucket": lambda s3, b, _own, _target: s3.delete_bucket(Bucket=b),
    "forgets its tags": lambda s3, b, _own, _target: s3.delete_bucket_tagging(Bucket=b),
}


def deleted(s3: "S3Client", bucket: str, key: str) -> Any:
    """DeleteObjects answers 200 whatever happened: the refusal stands with each key."""
    reply = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key}]})
    if errors := reply.get("Errors"):
        raise ClientError({"Error": {"Code": errors[0].get("Code", ""), "Message": ""}}, "DeleteObjects")
    return reply


@pytest.fixture(scope="module")
def pool_id() -> Iterator[UUID]:
    made = uuid4()
    yield made
    remove_pools_bucket(made)


@pytest.fixture(scope="module")
def neighbours(pool_id: UUID) -> tuple[TenantContext, TenantContext]:
    """acme and globex in one pool: the first object in a bucket takes 0.2 s."""
    tenants = tenant_named("acme", pool_id=pool_id), tenant_named("globex", pool_id=pool_id)
    for tenant in tenants:
        Bucket().provision(tenant, Bucket().plan(tenant), claim=Claim(run_id=uuid4(), fence=1, token="7" * 64))
    return tenants


@pytest.fixture
def acme(neighbours: tuple[TenantContext, TenantContext]) -> TenantContext:
    look_again()
    return neighbours[0]


@pytest.fixture
def globex(neighbours: tuple[TenantContext, TenantContext]) -> TenantContext:
    return neighbours[1]


@pytest.fixture
def places(acme: TenantContext, globex: TenantContext) -> tuple[str, str, str]:
    """The bucket and both prefixes, each with an object "secret" below it."""
    handles = [Bucket().plan(tenant) for tenant in (acme, globex)]
    for tenant, handle in zip((acme, globex), handles, strict=True):
        s3_client().put_object(Bucket=handle["bucket"], Key=f"{handle['prefix']}secret", Body=tenant.slug.encode())
    return handles[0]["bucket"], handles[0]["prefix"], handles[1]["prefix"]


def client_of(tenant: TenantContext) -> "S3Client":
    return vend(tenant, StorageCredentialsProvider().plan(tenant)).client()


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_acmes_credentials_are_refused_below_globexs_prefix(
    attack: Attack, acme: TenantContext, globex: TenantContext, places: tuple[str, str, str]
) -> None:
    bucket, ours, theirs = places
    client, before = client_of(acme), Bucket().count(globex, Bucket().plan(globex))
    with pytest.raises(ClientError) as refused:
        attack(client, bucket, ours, theirs)
    assert error_code(refused.value) in {"AccessDenied", "403"}
    assert Bucket().count(globex, Bucket().plan(globex)) == before
    attack(client, bucket, ours, ours)  # the control: the same call, below its own prefix, goes through


@pytest.mark.parametrize("overreach", OVERREACHES.values(), ids=OVERREACHES.keys())
def test_nothing_of_the_whole_bucket_is_a_tenants(
    overreach: Attack, acme: TenantContext, places: tuple[str, str, str]
) -> None:
    with pytest.raises(ClientError) as refused:
        overreach(client_of(acme), *places)
    assert error_code(refused.value) in {"AccessDenied", "403"}
    assert {finding.severity for finding in Bucket().verify(acme, Bucket().plan(acme))} == {Severity.INFO}


def test_a_bucket_is_set_up_once_and_asked_once_by_the_next(acme: TenantContext, globex: TenantContext) -> None:
    calls: list[str] = []

    def note(model: Any, **_kwargs: Any) -> None:
        calls.append(model.name)

    def made() -> None:
        Bucket().provision(globex, Bucket().plan(globex), claim=Claim(run_id=uuid4(), fence=1, token="7" * 64))

    events = s3_client().meta.events
    events.register("before-call.s3", note)
    try:
        made()
        assert calls == ["GetBucketTagging"]
        assert list(Bucket().verify(acme, Bucket().plan(acme)))  # what this store cannot do, and no fault
        calls.clear()
        made()
        assert calls == []  # it was looked at a moment ago
    finally:
        events.unregister("before-call.s3", note)


def test_a_fault_of_the_pools_bucket_is_found_and_set_right_by_the_next_tenant(
    acme: TenantContext, globex: TenantContext, places: tuple[str, str, str]
) -> None:
    s3_client().put_bucket_versioning(Bucket=places[0], VersioningConfiguration={"Status": "Suspended"})
    assert "bucket.versioning" in {finding.code for finding in Bucket().verify(acme, Bucket().plan(acme))}
    Bucket().provision(globex, Bucket().plan(globex), claim=Claim(run_id=uuid4(), fence=1, token="7" * 64))
    assert "bucket.versioning" not in {finding.code for finding in Bucket().verify(acme, Bucket().plan(acme))}


def test_versions_markers_and_uploads_of_one_tenant_go_and_the_neighbours_stay(
    acme: TenantContext, globex: TenantContext, places: tuple[str, str, str]
) -> None:
    bucket, ours, theirs = places
    for prefix in (ours, theirs):
        s3_client().put_object(Bucket=bucket, Key=f"{prefix}secret", Body=b"newer")
        s3_client().delete_object(Bucket=bucket, Key=f"{prefix}secret")
        s3_client().create_multipart_upload(Bucket=bucket, Key=f"{prefix}big")
    kept = Bucket().count(globex, Bucket().plan(globex))
    assert Bucket().count(acme, Bucket().plan(acme)) >= 4
    Bucket().deprovision(acme, Bucket().plan(acme), claim=Claim(run_id=uuid4(), fence=1, token="7" * 64))
    assert (Bucket().count(acme, Bucket().plan(acme)), Bucket().count(globex, Bucket().plan(globex))) == (0, kept)


def test_a_changed_handle_reaches_no_neighbour(acme: TenantContext, globex: TenantContext) -> None:
    theirs = Bucket().plan(globex)
    whole = {"bucket": theirs["bucket"]}
    for handle in (theirs, whole, {**whole, "prefix": ""}, {**whole, "prefix": acme.key}):
        for act in (
            lambda handle=handle: Bucket().erase(acme, handle, limit=10),
            lambda handle=handle: Bucket().count(acme, handle),
            lambda handle=handle: vend(acme, handle),
        ):
            with pytest.raises(NotOwnBucket):
                act()
