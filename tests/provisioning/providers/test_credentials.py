"""Attacks with acme's vended credentials on globex's bucket, each with the same call on acme's own as its control."""

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import urlopen
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError
from django.utils import timezone

from provisioning.errors import Permanent
from provisioning.models import Claim
from provisioning.providers import Bucket, StorageCredentials, StorageCredentialsProvider, vend
from provisioning.providers.bucket import NotOwnBucket, Place
from provisioning.providers.credentials import BadDuration, reach, session_policy
from provisioning.providers.s3 import StoreRefused, error_code, s3_client
from tenants.context import TenantContext
from tenants.findings import Severity
from tests.provisioning.providers.conftest import remove_bucket, tenant_named

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Attack = Callable[["S3Client", str, str], object]

# Called with a client, its own bucket, and the bucket it tries to reach. Both hold an object named "secret".
ATTACKS: dict[str, Attack] = {
    "lists it": lambda s3, _own, target: s3.list_objects_v2(Bucket=target),
    "lists its versions": lambda s3, _own, target: s3.list_object_versions(Bucket=target),
    "lists its uploads": lambda s3, _own, target: s3.list_multipart_uploads(Bucket=target),
    "asks whether it is there": lambda s3, _own, target: s3.head_bucket(Bucket=target),
    "reads an object": lambda s3, _own, target: s3.get_object(Bucket=target, Key="secret"),
    "reads an object's tags": lambda s3, _own, target: s3.get_object_tagging(Bucket=target, Key="secret"),
    "asks about an object": lambda s3, _own, target: s3.head_object(Bucket=target, Key="secret"),
    "copies out of it": lambda s3, own, target: s3.copy_object(
        Bucket=own, Key="stolen", CopySource={"Bucket": target, "Key": "secret"}
    ),
    "copies a part out of it": lambda s3, own, target: s3.upload_part_copy(
        Bucket=own,
        Key="stolen",
        PartNumber=1,
        UploadId=s3.create_multipart_upload(Bucket=own, Key="stolen")["UploadId"],
        CopySource={"Bucket": target, "Key": "secret"},
    ),
    "copies into it": lambda s3, own, target: s3.copy_object(
        Bucket=target, Key="planted", CopySource={"Bucket": own, "Key": "secret"}
    ),
    "puts an object": lambda s3, _own, target: s3.put_object(Bucket=target, Key="planted", Body=b"1"),
    "begins an upload": lambda s3, _own, target: s3.create_multipart_upload(Bucket=target, Key="planted"),
    "deletes an object": lambda s3, _own, target: s3.delete_object(Bucket=target, Key="secret"),
    "deletes several objects": lambda s3, _own, target: deleted(s3, target),
}
# What no tenant may do to any bucket, not even its own: it would end versioning, encryption or the bucket itself.
OVERREACHES: dict[str, Attack] = {
    "deletes the bucket": lambda s3, own, _target: s3.delete_bucket(Bucket=own),
    "ends versioning": lambda s3, own, _target: s3.put_bucket_versioning(
        Bucket=own, VersioningConfiguration={"Status": "Suspended"}
    ),
    "opens it by policy": lambda s3, own, _target: s3.put_bucket_policy(Bucket=own, Policy=open_to_all(own)),
    "opens it by access list": lambda s3, own, _target: s3.put_bucket_acl(Bucket=own, ACL="public-read"),
    "ends encryption": lambda s3, own, _target: s3.delete_bucket_encryption(Bucket=own),
    "lets objects expire": lambda s3, own, _target: s3.delete_bucket_lifecycle(Bucket=own),
    "makes a bucket": lambda s3, own, _target: s3.create_bucket(Bucket=f"{own}-2"),
}


def deleted(s3: "S3Client", bucket: str) -> Any:
    """DeleteObjects answers 200 whatever happened: the refusal stands with each key."""
    reply = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "secret"}]})
    if errors := reply.get("Errors"):
        raise ClientError({"Error": {"Code": errors[0].get("Code", ""), "Message": ""}}, "DeleteObjects")
    return reply


def open_to_all(bucket: str) -> str:
    everything = {"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": [f"arn:aws:s3:::{bucket}/*"]}
    return json.dumps({"Version": "2012-10-17", "Statement": [everything]})


@pytest.fixture(scope="module")
def neighbours() -> Iterator[tuple[TenantContext, TenantContext]]:
    """acme and globex, with a bucket each that the attacks below share: the first object in a bucket takes 0.2 s."""
    tenants = tenant_named("acme"), tenant_named("globex")
    claim = Claim(run_id=uuid4(), fence=1, token="7" * 64)
    for tenant in tenants:
        Bucket().provision(tenant, Bucket().plan(tenant), claim=claim)
    yield tenants
    for tenant in tenants:
        remove_bucket(tenant, claim)


@pytest.fixture
def acme(neighbours: tuple[TenantContext, TenantContext]) -> TenantContext:
    return neighbours[0]


@pytest.fixture
def globex(neighbours: tuple[TenantContext, TenantContext]) -> TenantContext:
    return neighbours[1]


@pytest.fixture
def buckets(acme: TenantContext, globex: TenantContext) -> tuple[str, str]:
    """The names of both buckets, each with an object named "secret"."""
    names = [Bucket().plan(tenant)["bucket"] for tenant in (acme, globex)]
    for tenant, name in zip((acme, globex), names, strict=True):
        s3_client().put_object(Bucket=name, Key="secret", Body=tenant.slug.encode())
    return names[0], names[1]


def vended(tenant: TenantContext) -> StorageCredentials:
    return vend(tenant, StorageCredentialsProvider().plan(tenant))


def inventory(bucket: str) -> list[str]:
    """Every version and unfinished upload, as the administering identity sees them."""
    versions = s3_client().list_object_versions(Bucket=bucket)
    uploads = s3_client().list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    found = (*versions.get("Versions", []), *versions.get("DeleteMarkers", []))
    return sorted([*(item["VersionId"] for item in found), *(upload["UploadId"] for upload in uploads)])


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_acmes_credentials_are_refused_on_globexs_bucket(
    attack: Attack, acme: TenantContext, buckets: tuple[str, str]
) -> None:
    ours, theirs = buckets
    client, before = vended(acme).client(), inventory(theirs)
    with pytest.raises(ClientError) as refused:
        attack(client, ours, theirs)
    assert error_code(refused.value) in {"AccessDenied", "403"}
    assert inventory(theirs) == before
    attack(client, ours, ours)  # the control: the same call, on its own bucket, goes through


@pytest.mark.parametrize("overreach", OVERREACHES.values(), ids=OVERREACHES.keys())
def test_a_tenant_cannot_administer_its_own_bucket(
    overreach: Attack, acme: TenantContext, buckets: tuple[str, str]
) -> None:
    ours, theirs = buckets
    with pytest.raises(ClientError) as refused:
        overreach(vended(acme).client(), ours, theirs)
    assert error_code(refused.value) == "AccessDenied"
    found = {finding.severity for finding in Bucket().verify(acme, {"bucket": ours})}
    assert found == {Severity.INFO}


def test_a_presigned_link_opens_one_object_of_its_own_bucket(acme: TenantContext, buckets: tuple[str, str]) -> None:
    ours, theirs = buckets
    client = vended(acme).client()
    link = client.generate_presigned_url("get_object", Params={"Bucket": ours, "Key": "secret"}, ExpiresIn=60)
    with urlopen(link, timeout=5) as answer:  # noqa: S310  the scheme is the stack's own
        assert answer.read() == b"acme"
    forged = client.generate_presigned_url("get_object", Params={"Bucket": theirs, "Key": "secret"}, ExpiresIn=60)
    for attempt in (forged, link.replace(ours, theirs)):
        with pytest.raises(HTTPError) as refused:
            urlopen(attempt, timeout=5)  # noqa: S310
        assert refused.value.code == 403
        refused.value.close()


def test_credentials_end_and_say_when(acme: TenantContext) -> None:
    left = (vended(acme).expires_at - timezone.now()).total_seconds()
    assert 800 < left <= 901


@pytest.mark.parametrize("seconds", [0, 899, 3_601, 86_400])
def test_no_credentials_outlive_an_hour_or_fall_under_the_shortest_that_aws_gives(
    seconds: int, acme: TenantContext
) -> None:
    with pytest.raises(BadDuration, match="900 to 3,600"):
        vend(acme, StorageCredentialsProvider().plan(acme), duration_s=seconds)


def test_a_changed_handle_vends_nothing(acme: TenantContext, globex: TenantContext) -> None:
    with pytest.raises(NotOwnBucket):
        vend(acme, StorageCredentialsProvider().plan(globex))


def test_no_secret_shows_when_credentials_are_printed(acme: TenantContext) -> None:
    credentials = vended(acme)
    for shown in (repr(credentials), str(credentials), f"{credentials}"):
        assert credentials.secret_access_key not in shown
        assert credentials.session_token not in shown
        assert credentials.bucket in shown


def test_the_session_policy_is_within_what_aws_takes(acme: TenantContext) -> None:
    """IAM and STS quotas: 2,048 characters of session policy; names of federated users have 2 to 32 characters."""
    for place in (Place(f"t-{acme.tenant_id.hex}"), Place(f"p-{acme.tenant_id.hex}", f"{acme.key}/")):
        assert len(json.dumps(session_policy(place))) < 2_048
    assert len(acme.tenant_id.hex) == 32


def test_verify_finds_credentials_that_reach_a_neighbour(acme: TenantContext, buckets: tuple[str, str]) -> None:
    """The administering identity stands for a session whose policy the store ignores."""
    assert list(reach(vended(acme).client(), Place(buckets[0]))) == []
    found = list(reach(s3_client(), Place(buckets[0])))
    assert [(finding.code, finding.severity) for finding in found] == [
        ("credentials.too_wide", Severity.CRITICAL),
        ("credentials.too_wide", Severity.CRITICAL),
    ]


def test_verify_finds_credentials_that_do_not_reach_their_own_bucket(
    acme: TenantContext, buckets: tuple[str, str]
) -> None:
    deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:ListBucket", "Resource": f"arn:aws:s3:::{buckets[0]}"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [deny]})
    s3_client().put_bucket_policy(Bucket=buckets[0], Policy=policy)
    provider = StorageCredentialsProvider()
    assert [finding.code for finding in provider.verify(acme, provider.plan(acme))] == ["credentials.too_narrow"]
    s3_client().delete_bucket_policy(Bucket=buckets[0])


def test_a_vending_identity_that_is_unknown_is_permanent(acme: TenantContext, settings: Any) -> None:
    settings.S3_VENDING_ACCESS_KEY_ID, settings.S3_VENDING_SECRET_ACCESS_KEY = "AKIAUNKNOWN000000000", "secret"
    with pytest.raises(StoreRefused) as refused:
        vended(acme)
    assert isinstance(refused.value, Permanent)
    assert "secret" not in str(refused.value).replace("secret_access", "")
