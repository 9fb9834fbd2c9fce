from datetime import timedelta

import pytest
from botocore.exceptions import ClientError
from django.utils import timezone

from provisioning.erasure import controls
from provisioning.erasure.erasers.bucket import BucketEraser
from provisioning.erasure.stores import Budget, Identifier, Progress
from provisioning.erasure.verifiers.bucket import BucketVerifier, looking
from provisioning.providers.s3 import s3_client
from tenants.placement import SENTINEL, bucket_name, pool_bucket
from tests.provisioning.erasure.conftest import Neighbours
from tests.provisioning.erasure.counting import Killed, erased, scope_of, total, verdict
from tests.provisioning.providers.conftest import remove_bucket

pytestmark = pytest.mark.long

ERASER, VERIFIER = BucketEraser(), BucketVerifier()


def bucket(name: str, **settings: bool) -> str:
    s3_client().create_bucket(Bucket=name, **settings)  # type: ignore[arg-type]
    s3_client().put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return name


def filled(name: str, prefix: str = "") -> None:
    """Two versions, a delete marker upon them, a second file, and an unfinished upload: 5 things."""
    client = s3_client()
    for body in (b"1", b"2"):
        client.put_object(Bucket=name, Key=f"{prefix}invoice.pdf", Body=body)
    client.delete_object(Bucket=name, Key=f"{prefix}invoice.pdf")
    client.put_object(Bucket=name, Key=f"{prefix}Letter of ada@example.com.txt", Body=b"3")
    client.create_multipart_upload(Bucket=name, Key=f"{prefix}film.mp4")


def inventory(name: str, prefix: str) -> list[tuple[str, str]]:
    page = s3_client().list_object_versions(Bucket=name, Prefix=prefix)
    return [(each["Key"], each["VersionId"]) for part in ("Versions", "DeleteMarkers") for each in page.get(part, ())]  # type: ignore[attr-defined]


@pytest.fixture
def pool(neighbours: Neighbours) -> str:
    """acme's files in its own bucket and in the pool's, globex's beside them."""
    filled(bucket(bucket_name(neighbours.acme.tenant_id)))
    name = bucket(pool_bucket(neighbours.pool.pk))
    for each in (neighbours.acme, neighbours.globex):
        filled(name, f"{each.key}/")
    controls.plant(neighbours.acme.tenant_id)
    return name


def test_acmes_objects_go_wherever_it_lived_and_globexs_stay(neighbours: Neighbours, pool: str) -> None:
    acme, globex = neighbours.acme, f"{neighbours.globex.key}/"
    scope, before = scope_of(acme), inventory(pool, globex)
    assert (total(VERIFIER, scope), VERIFIER.control(scope).ok) == (10, True)
    assert list(VERIFIER.blockers(scope)) == []

    with pytest.raises(Killed):  # in the second place, when the first is done
        erased(ERASER, scope, items=2, dies_at=6)
    erased(ERASER, scope, items=2)
    found = verdict(VERIFIER, scope)
    assert (found.status, found.reasons) == ("clean", ())
    assert bucket_name(acme.tenant_id) not in {each["Name"] for each in s3_client().list_buckets()["Buckets"]}
    assert inventory(pool, globex) == before
    assert erased(ERASER, scope) == 0  # and a repeat is a success

    s3_client().put_object(Bucket=pool, Key=f"{acme.key}/late.txt", Body=b"")
    assert verdict(VERIFIER, scope).reasons == (f"bucket:{pool} still holds 1",)
    strange = bucket(f"copies-of-{acme.tenant_id.hex}")
    assert VERIFIER.coverage(scope).unclassified == (strange,)
    s3_client().delete_bucket(Bucket=strange)

    for key, version in inventory(pool, controls.PREFIX):
        s3_client().delete_object(Bucket=pool, Key=key, VersionId=version)
    assert verdict(VERIFIER, scope).status == "unknown"


def test_of_a_person_go_the_files_that_are_named_after_it_or_by_its_rows(neighbours: Neighbours, pool: str) -> None:
    scope = scope_of(
        neighbours.acme,
        Identifier("email", "Ada@Example.com"),
        Identifier("object_key", "invoice.pdf"),
        Identifier("text", "sentinel"),
        subject=True,
    )
    s3_client().put_object(Bucket=pool, Key=f"{neighbours.acme.key}/{SENTINEL}", Body=b"")
    assert total(VERIFIER, scope) == 8
    assert erased(ERASER, scope) == 8
    assert verdict(VERIFIER, scope).status == "clean"
    assert total(VERIFIER, scope_of(neighbours.acme)) == 3  # the unfinished films, and what proves an erasure later
    assert len(inventory(pool, f"{neighbours.globex.key}/")) == 4
    remove_bucket(neighbours.acme_before, None)  # type: ignore[arg-type]


def test_a_locked_version_blocks_the_plan_and_is_never_called_gone(neighbours: Neighbours) -> None:
    scope = scope_of(neighbours.acme)
    name = bucket(bucket_name(neighbours.acme.tenant_id), ObjectLockEnabledForBucket=True)
    until = timezone.now() + timedelta(days=1)
    s3_client().put_object(
        Bucket=name, Key="law", Body=b"1", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=until
    )
    for key in ("a", "z"):
        s3_client().put_object(Bucket=name, Key=key, Body=b"")
    (blocker,) = VERIFIER.blockers(scope)
    assert (blocker.code, f"{until:%Y-%m-%d}" in blocker.message) == ("bucket.object_lock", True)

    progress, said = Progress(), set[str]()
    while progress.cursor or not said:  # a pass of several calls, the last of which is refused nothing
        progress = ERASER.erase(scope, ERASER.enumerate(scope), progress.cursor, Budget(1, 1e12), lambda: None)
        said |= {finding.code for finding in progress.failed}
    assert (said, progress.done, progress.cursor) == ({"bucket.kept"}, False, None)
    ((key, version),) = inventory(name, "")
    assert (key, total(VERIFIER, scope)) == ("law", 1)

    s3_client().delete_object(Bucket=name, Key=key, VersionId=version, BypassGovernanceRetention=True)
    assert erased(ERASER, scope) == 0
    assert verdict(VERIFIER, scope).remaining == ()


def test_the_verifier_can_only_look(neighbours: Neighbours, pool: str) -> None:
    """Whatever it is asked to do by mistake, it cannot have erased what it counts."""
    client, key = looking(), f"{neighbours.acme.key}/invoice.pdf"
    with pytest.raises(ClientError, match="AccessDenied"):
        client.delete_object(Bucket=pool, Key=key)
    with pytest.raises(ClientError, match="AccessDenied"):
        client.get_object(Bucket=pool, Key=key)
    remove_bucket(neighbours.acme_before, None)  # type: ignore[arg-type]
