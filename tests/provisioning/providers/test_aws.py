"""The shape of our calls on AWS, with the real boto3 client against moto's server, the nearest that runs here.

moto takes and returns what AWS takes and returns, in another region, with the public access block and AssumeRole that
the embedded store lacks. It enforces no policy: that AWS keeps a session to one bucket is not proved here.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

from provisioning.models import Claim
from provisioning.providers import Bucket, StorageCredentialsProvider, vend
from provisioning.providers import s3 as clients
from provisioning.providers.bucket import BucketTaken
from provisioning.providers.s3 import s3_client, sts_client
from tenants.context import TenantContext
from tenants.findings import Severity

ROLE = "arn:aws:iam::123456789012:role/tenure-vending"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(autouse=True)
def aws(server: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """S3_ENDPOINT_URL unset means AWS; boto3's own variable leads it to moto."""
    settings.S3_ENDPOINT_URL = None
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    clients._client.cache_clear()
    clients._session.cache_clear()
    clients._holding_client.cache_clear()
    yield
    clients._client.cache_clear()
    clients._holding_client.cache_clear()
    clients._session.cache_clear()


def test_a_bucket_has_every_setting_that_aws_offers(acme: TenantContext, claim: Claim) -> None:
    bucket, handle = Bucket(), Bucket().plan(acme)
    for _attempt in range(2):
        bucket.provision(acme, handle, claim=claim)
    assert list(bucket.verify(acme, handle)) == []
    assert s3_client().get_bucket_location(Bucket=handle["bucket"])["LocationConstraint"] == "eu-central-1"


def test_a_public_access_block_and_a_policy_that_were_removed_are_found(acme: TenantContext, claim: Claim) -> None:
    bucket, handle = Bucket(), Bucket().plan(acme)
    bucket.provision(acme, handle, claim=claim)
    s3_client().delete_public_access_block(Bucket=handle["bucket"])
    s3_client().delete_bucket_policy(Bucket=handle["bucket"])
    found = {finding.code: finding.severity for finding in bucket.verify(acme, handle)}
    assert found == {"bucket.public_access": Severity.ERROR, "bucket.plain_http": Severity.WARNING}


def test_a_bucket_that_is_somebody_elses_is_not_agreed_with(acme: TenantContext, claim: Claim) -> None:
    """moto keeps accounts apart by the caller's role."""
    their_role = "arn:aws:iam::999999999999:role/theirs"
    session = sts_client().assume_role(RoleArn=their_role, RoleSessionName="theirs")["Credentials"]
    theirs = clients.s3_client_as(session["AccessKeyId"], session["SecretAccessKey"], session["SessionToken"])
    handle = Bucket().plan(acme)
    location: Any = {"LocationConstraint": "eu-central-1"}
    theirs.create_bucket(Bucket=handle["bucket"], CreateBucketConfiguration=location)
    with pytest.raises(BucketTaken) as refused:
        Bucket().provision(acme, handle, claim=claim)
    assert "find out who" in refused.value.cure


def test_a_role_is_assumed_under_a_session_policy_with_the_tenant_as_its_tag(
    acme: TenantContext, claim: Claim, settings: Any
) -> None:
    settings.S3_VENDING_ROLE_ARN = ROLE
    handle = Bucket().plan(acme)
    Bucket().provision(acme, handle, claim=claim)
    sent: list[dict[str, Any]] = []
    sts_client().meta.events.register(
        "provide-client-params.sts.AssumeRole", lambda params, **_kwargs: sent.append(dict(params))
    )
    credentials = vend(acme, handle, duration_s=1_200)
    (call,) = sent
    assert (call["RoleArn"], call["RoleSessionName"], call["DurationSeconds"]) == (ROLE, acme.tenant_id.hex, 1_200)
    assert call["Tags"] == [{"Key": "tenant", "Value": acme.tenant_id.hex}]
    resources = {statement["Resource"] for statement in json.loads(call["Policy"])["Statement"]}
    assert resources == {f"arn:aws:s3:::{handle['bucket']}", f"arn:aws:s3:::{handle['bucket']}/*"}
    assert (credentials.endpoint_url, credentials.region) == (None, "eu-central-1")
    StorageCredentialsProvider().provision(acme, handle, claim=claim)
