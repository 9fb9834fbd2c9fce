from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from django.conf import settings as project

from provisioning.models import Claim, Handle
from provisioning.providers import Bucket
from provisioning.providers.bucket import NotOwnBucket
from provisioning.providers.s3 import StoreRefused, s3_client, s3_client_as, s3_errors
from tenants.context import TenantContext
from tenants.findings import Finding, Severity

pytestmark = pytest.mark.long


@pytest.fixture
def handle(acme: TenantContext, claim: Claim) -> Handle:
    made = Bucket().plan(acme)
    Bucket().provision(acme, made, claim=claim)
    return made


def found(tenant: TenantContext) -> dict[str, Severity]:
    findings: list[Finding] = list(Bucket().verify(tenant, Bucket().plan(tenant)))
    return {finding.code: finding.severity for finding in findings}


def test_says_what_the_embedded_store_cannot_do(acme: TenantContext, handle: Handle) -> None:
    assert found(acme) == {"bucket.public_access": Severity.INFO, "bucket.plain_http": Severity.INFO}


def test_plain_http_to_an_address_that_is_not_this_machine_is_a_warning(
    acme: TenantContext, handle: Handle, settings: Any
) -> None:
    """Linux connects 0.0.0.0 to this machine, but nothing says so: it stands for another machine's address."""
    settings.S3_ENDPOINT_URL = (project.S3_ENDPOINT_URL or "").replace("127.0.0.1", "0.0.0.0")  # noqa: S104  connected to, not bound
    assert found(acme)["bucket.plain_http"] == Severity.WARNING


def test_a_deleted_file_can_be_brought_back(handle: Handle) -> None:
    client = s3_client()
    version = client.put_object(Bucket=handle["bucket"], Key="plan.txt", Body=b"first")["VersionId"]
    client.delete_object(Bucket=handle["bucket"], Key="plan.txt")
    kept = client.get_object(Bucket=handle["bucket"], Key="plan.txt", VersionId=version)
    assert (kept["Body"].read(), kept["ServerSideEncryption"]) == (b"first", "AES256")


def test_versions_markers_and_unfinished_uploads_all_count_and_all_go(acme: TenantContext, handle: Handle) -> None:
    client = s3_client()
    client.put_object(Bucket=handle["bucket"], Key="a", Body=b"1")
    client.put_object(Bucket=handle["bucket"], Key="a", Body=b"2")
    client.delete_object(Bucket=handle["bucket"], Key="a")
    client.create_multipart_upload(Bucket=handle["bucket"], Key="big")
    assert Bucket().count(acme, handle) == 4
    went = [Bucket().erase(acme, handle, limit=3) for _round in range(3)]
    assert went == [3, 1, 0]
    assert Bucket().count(acme, handle) == 0


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda c, b: c.put_bucket_versioning(Bucket=b, VersioningConfiguration={"Status": "Suspended"}), "versioning"),
        (lambda c, b: c.delete_bucket_encryption(Bucket=b), "encryption"),
        (lambda c, b: c.delete_bucket_tagging(Bucket=b), "tags"),
        (lambda c, b: c.delete_bucket_lifecycle(Bucket=b), "lifecycle"),
        (lambda c, b: c.delete_bucket(Bucket=b), "missing"),
    ],
    ids=["versioning", "encryption", "tags", "lifecycle", "missing"],
)
def test_finds_each_setting_that_was_changed_and_sets_it_again(
    spoil: Any, code: str, acme: TenantContext, handle: Handle, claim: Claim
) -> None:
    spoil(s3_client(), handle["bucket"])
    assert f"bucket.{code}" in found(acme)
    Bucket().provision(acme, handle, claim=claim)
    assert f"bucket.{code}" not in found(acme)


def test_a_bucket_with_only_versions_is_emptied_before_it_is_deleted(
    acme: TenantContext, handle: Handle, claim: Claim
) -> None:
    """The store itself would delete it with everything in it, so the order of our calls is what counts."""
    s3_client().put_object(Bucket=handle["bucket"], Key="a", Body=b"1")
    calls: list[str] = []
    s3_client().meta.events.register("before-call.s3", lambda model, **_kwargs: calls.append(model.name))
    Bucket().deprovision(acme, handle, claim=claim)
    deleted = calls.index("DeleteBucket")
    assert "DeleteObjects" in calls[:deleted]
    assert calls[deleted - 2 : deleted] == ["ListObjectVersions", "ListMultipartUploads"]  # counted to zero


def test_a_changed_handle_does_not_reach_the_neighbours_bucket(
    acme: TenantContext, globex: TenantContext, claim: Claim
) -> None:
    theirs = Bucket().plan(globex)
    Bucket().provision(globex, theirs, claim=claim)
    s3_client().put_object(Bucket=theirs["bucket"], Key="a", Body=b"1")
    for act in (
        lambda: Bucket().erase(acme, theirs, limit=10),
        lambda: Bucket().count(acme, theirs),
        lambda: Bucket().provision(acme, theirs, claim=claim),
        lambda: Bucket().deprovision(acme, theirs, claim=claim),
    ):
        with pytest.raises(NotOwnBucket):
            act()
    assert Bucket().count(globex, theirs) == 1


class Killed(BaseException):
    """Stands for SIGKILL: no handler of ours catches it."""


def calls_of(act: Any) -> int:
    calls: list[str] = []

    def note(model: Any, **_kwargs: Any) -> None:
        calls.append(model.name)

    events = s3_client().meta.events
    events.register("before-call.s3", note)
    try:
        act()
    finally:
        events.unregister("before-call.s3", note)
    return len(calls)


def killed_at(moment: str, call: int, act: Any) -> None:
    """Run `act` and die before or after its call number `call`."""
    seen: list[int] = []

    def die(**_kwargs: Any) -> None:
        seen.append(1)
        if len(seen) == call:
            raise Killed

    events = s3_client().meta.events
    events.register(f"{moment}-call.s3", die)
    try:
        with pytest.raises(Killed):
            act()
    finally:
        events.unregister(f"{moment}-call.s3", die)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_at_any_call_and_run_again_it_ends_as_if_nothing_had_happened(
    moment: str, acme: TenantContext, claim: Claim
) -> None:
    bucket, handle = Bucket(), Bucket().plan(acme)
    expected = {"bucket.public_access": Severity.INFO, "bucket.plain_http": Severity.INFO}

    def make() -> None:
        bucket.provision(acme, handle, claim=claim)

    def remove() -> None:
        bucket.deprovision(acme, handle, claim=claim)

    steps = calls_of(make)
    s3_client().put_object(Bucket=handle["bucket"], Key="a", Body=b"1")
    removals = calls_of(remove)
    assert (steps, removals) == (6, 8)
    for call in range(1, steps + 1):
        killed_at(moment, call, make)
        make()
        assert found(acme) == expected
        remove()
    for call in range(1, removals + 1):
        make()
        s3_client().put_object(Bucket=handle["bucket"], Key="a", Body=b"1")
        killed_at(moment, call, remove)
        remove()
        assert found(acme) == {"bucket.missing": Severity.CRITICAL}


def test_nobody_reads_without_credentials(handle: Handle) -> None:
    s3_client().put_object(Bucket=handle["bucket"], Key="a", Body=b"1")
    with pytest.raises(HTTPError) as refused:
        urlopen(f"{project.S3_ENDPOINT_URL}/{handle['bucket']}/a", timeout=5)  # noqa: S310  the scheme is the stack's own
    assert refused.value.code == 403
    refused.value.close()


def test_an_unknown_access_key_is_permanent_and_names_the_cure(handle: Handle) -> None:
    stranger = s3_client_as("AKIAUNKNOWN000000000", "secret", "")
    with pytest.raises(StoreRefused, match="InvalidAccessKeyId") as refused, s3_errors("list", handle["bucket"]):
        stranger.list_objects_v2(Bucket=handle["bucket"])
    assert "AWS_ACCESS_KEY_ID" in refused.value.cure
