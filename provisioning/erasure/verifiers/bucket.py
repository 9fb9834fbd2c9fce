"""What is left of a tenant's objects, seen with credentials that can list and nothing else.

It begins at the list of all buckets, not at the tenant's placements, and looks for the tenant's id without the slash
that the eraser deletes by.
"""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any
from uuid import UUID

from botocore.exceptions import ClientError
from django.conf import settings
from django.utils import timezone

from provisioning.erasure.controls import BUCKETS, PREFIX
from provisioning.erasure.stores import Control, Coverage, Kind, Residue, Scope, Tally
from provisioning.providers.credentials import LONGEST_S, SHORTEST_S
from provisioning.providers.s3 import error_code, s3_client_as, s3_errors, sts_client
from tenants.findings import Finding, Severity
from tenants.models import Placement
from tenants.placement import SENTINEL, pool_bucket

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SESSION = "tenure-erasure-verifier"
LOOKS = ("s3:ListBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads")
READS_SETTINGS = ("s3:GetBucketObjectLockConfiguration", "s3:GetReplicationConfiguration", "s3:GetBucketPolicy")
READS_LOCKS = ("s3:GetObjectRetention", "s3:GetObjectLegalHold")
MAY: dict[str, Any] = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*"},
        {"Effect": "Allow", "Action": [*LOOKS, *READS_SETTINGS], "Resource": "arn:aws:s3:::*"},
        {"Effect": "Allow", "Action": READS_LOCKS, "Resource": "arn:aws:s3:::*/*"},
    ],
}
NOT_SET = frozenset(
    {
        "NoSuchBucketPolicy",
        "NoSuchObjectLegalHold",
        "NoSuchObjectLockConfiguration",
        "ObjectLockConfigurationNotFoundError",
        "ReplicationConfigurationNotFoundError",
    }
)
LOCKS_READ = 1_000  # versions of a locked bucket whose dates are read: a request each
GONE = "NoSuchBucket"
NAMED_FOR = timedelta(hours=2)  # a policy of a pool's bucket names those that were shut lately
LINKS_UNTIL = timedelta(minutes=15)


class BucketVerifier:
    """Counts versions, delete markers and unfinished uploads by listing."""

    store = "bucket"
    scopes: frozenset[Kind] = frozenset({"tenant", "subject"})

    def coverage(self, scope: Scope) -> Coverage:
        """By the store's own list. A bucket that is neither the tenant's nor a pool's and holds its objects is
        unclassified.
        """
        client = looking()
        covered, unclassified = [], []
        for bucket in _buckets(client):
            if bucket == _own(scope.tenant_id) or (bucket.startswith("p-") and _any(client, bucket, scope.tenant_id)):
                covered.append(bucket)
            elif scope.tenant_id.hex in bucket or (_is_strange(bucket) and _any(client, bucket, scope.tenant_id)):
                unclassified.append(bucket)
        return Coverage(tuple(covered), unclassified=tuple(unclassified))

    def blockers(self, scope: Scope) -> Iterable[Finding]:
        """Object lock, and replication to a store that nobody erases."""
        client = looking()
        for bucket, prefix in _places(client, scope.tenant_id):
            if _setting(client.get_object_lock_configuration, bucket) is not None:
                yield from _locked(client, bucket, prefix)
            if _setting(client.get_bucket_replication, bucket) is not None:
                yield Finding(
                    "bucket.replicated",
                    Severity.ERROR,
                    bucket,
                    "It is replicated, and deleting versions does not reach the replica.",
                    "End the replication and empty the replica, or sign a waiver for it.",
                )

    def count(self, scope: Scope) -> tuple[Tally, ...]:
        """A tally a bucket that is there; one of 0 where none is."""
        client = looking()
        tallies = [_tally(client, scope, bucket, prefix) for bucket, prefix in _places(client, scope.tenant_id)]
        none = None if scope.kind == "subject" else False
        return tuple(tallies) or (Tally(f"bucket:{_own(scope.tenant_id)}", 0, sentinel=none),)

    def control(self, scope: Scope) -> Control:
        """The same listing finds a version, a delete marker and an unfinished upload in a bucket of Tenure's own, and
        the first two in each pool's bucket where the tenant lived, or has objects.
        """
        client = looking()
        buckets = _buckets(client)
        seen = {bucket: _kinds(client, bucket) for bucket in buckets if bucket.startswith(BUCKETS)}
        ok = any({"Versions", "DeleteMarkers", "Uploads"} <= kinds for kinds in seen.values())
        holding = {each for each in buckets if each.startswith("p-") and _any(client, each, scope.tenant_id)}
        pools = sorted(_pools_of(scope.tenant_id) | holding)
        blind = [bucket for bucket in pools if not {"Versions", "DeleteMarkers"} <= _kinds(client, bucket)]
        method = f"list-only session; control objects seen in {int(ok) + len(pools) - len(blind)} of {1 + len(pools)}"
        return Control(ok and not blind, f"{method} buckets")

    def residue(self, scope: Scope) -> tuple[Residue, ...]:
        now, client = timezone.now(), looking()
        named = [bucket for bucket in _pools(client) if _named(client, bucket, scope.tenant_id)]
        return (
            *(
                Residue(f"policy of {bucket}", "it names the id whose sessions it keeps out", now + NAMED_FOR)
                for bucket in named
            ),
            Residue(
                "vended storage sessions",
                f"they end by themselves, after {SHORTEST_S // 60} to {LONGEST_S // 60} minutes, and reach no object",
                now + timedelta(seconds=LONGEST_S),
            ),
            Residue("presigned links", "they end by themselves and lead to no object", now + LINKS_UNTIL),
            Residue("the store's access logs and disks", "they are kept by whoever runs the store", None),
        )


def looking() -> "S3Client":
    """A client that may list, and look at locks; it can neither read an object nor delete one."""
    session: dict[str, Any] = {"Policy": json.dumps(MAY), "DurationSeconds": SHORTEST_S}
    with s3_errors("vend a verifier's credentials for", "all buckets"):
        if settings.S3_VENDING_ROLE_ARN:
            reply: Any = sts_client().assume_role(
                RoleArn=settings.S3_VENDING_ROLE_ARN, RoleSessionName=SESSION, **session
            )
        else:
            reply = sts_client().get_federation_token(Name=SESSION, **session)
    given = reply["Credentials"]
    return s3_client_as(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])


def _own(tenant_id: UUID) -> str:
    return f"t-{tenant_id.hex}"


def _is_strange(bucket: str) -> bool:
    return not bucket.startswith(("t-", "p-", BUCKETS))


def _buckets(client: "S3Client") -> list[str]:
    with s3_errors("list", "all buckets"):
        pages = client.get_paginator("list_buckets").paginate()
        return sorted(each["Name"] for page in pages for each in page.get("Buckets", ()))


def _pools_of(tenant_id: UUID) -> set[str]:
    """Buckets of the pools that it was ever placed in."""
    placed = Placement.objects.filter(tenant=tenant_id, pool__isnull=False)
    return {pool_bucket(pool) for pool in placed.values_list("pool", flat=True)}


def _pools(client: "S3Client") -> list[str]:
    return [bucket for bucket in _buckets(client) if bucket.startswith("p-")]


def _places(client: "S3Client", tenant_id: UUID) -> list[tuple[str, str]]:
    """Bucket and what the keys begin with. The id without a slash: no other tenant's begins with it."""
    buckets = _buckets(client)
    own = [(bucket, "") for bucket in buckets if bucket == _own(tenant_id)]
    return [*own, *((bucket, f"t_{tenant_id.hex}") for bucket in buckets if bucket.startswith("p-"))]


def _any(client: "S3Client", bucket: str, tenant_id: UUID) -> bool:
    return next(_keys(client, bucket, f"t_{tenant_id.hex}"), None) is not None


def _keys(client: "S3Client", bucket: str, prefix: str) -> Iterator[str]:
    """Keys of versions, of delete markers and of uploads, each as often as it occurs."""
    for kind in ("list_object_versions", "list_multipart_uploads"):
        for page in _pages(client, kind, bucket, prefix):
            for part in ("Versions", "DeleteMarkers", "Uploads"):
                yield from (item["Key"] for item in page.get(part, ()))


def _kinds(client: "S3Client", bucket: str) -> set[str]:
    kinds = ("list_object_versions", "list_multipart_uploads")
    pages = [page for kind in kinds for page in _pages(client, kind, bucket, PREFIX)]
    return {part for page in pages for part in ("Versions", "DeleteMarkers", "Uploads") if page.get(part)}


def _pages(client: "S3Client", kind: Any, bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
    """Nothing of a bucket that is gone; anything but that answer is an error, and so no answer."""
    with s3_errors("list", bucket):
        try:
            yield from client.get_paginator(kind).paginate(Bucket=bucket, Prefix=prefix)
        except ClientError as error:
            if error_code(error) != GONE:
                raise


def _tally(client: "S3Client", scope: Scope, bucket: str, prefix: str) -> Tally:
    """One list gives both: how many there are, and whether the sentinel is one of them."""
    number, seen = 0, False
    for key in _keys(client, bucket, prefix):
        if _counts(scope, bucket, key):
            number += 1
            seen = seen or _name(scope, bucket, key) == SENTINEL
    return Tally(f"bucket:{bucket}", number, sentinel=None if scope.kind == "subject" else seen)


def _name(scope: Scope, bucket: str, key: str) -> str:
    """The key as the tenant knows it: without the prefix of a pool."""
    return key if bucket == _own(scope.tenant_id) else key.partition("/")[2]


def _counts(scope: Scope, bucket: str, key: str) -> bool:
    """Whether this key is in the scope: any of a tenant's, and of a person's those that are named after it."""
    if scope.kind == "tenant":
        return True
    name = _name(scope, bucket, key)
    if name == SENTINEL:
        return False
    for identifier in scope.identifiers:
        if identifier.kind == "object_key":
            if name == identifier.value:
                return True
        elif identifier.value.lower() in name.lower():
            return True
    return False


def _setting(read: Any, bucket: str, **of: str) -> Any:
    """What is set, or None."""
    with s3_errors("look at the settings of", bucket):
        try:
            return read(Bucket=bucket, **of)
        except ClientError as error:
            if error_code(error) in NOT_SET | {GONE, "NotImplemented", "MethodNotAllowed"}:
                return None
            raise


def _named(client: "S3Client", bucket: str, tenant_id: UUID) -> bool:
    """Whether the policy of a pool's bucket speaks of the tenant."""
    policy = _setting(client.get_bucket_policy, bucket)
    return policy is not None and tenant_id.hex in policy["Policy"]


def _locked(client: "S3Client", bucket: str, prefix: str) -> Iterator[Finding]:
    """COMPLIANCE cannot be lifted by anybody, and a delete marker upon it only hides it."""
    until: list[datetime] = []
    held = 0
    for key, version in islice(_versions(client, bucket, prefix), LOCKS_READ):
        retention = _setting(client.get_object_retention, bucket, Key=key, VersionId=version)
        hold = _setting(client.get_object_legal_hold, bucket, Key=key, VersionId=version)
        if retention is not None and retention["Retention"]["RetainUntilDate"] > timezone.now():
            until.append(retention["Retention"]["RetainUntilDate"])
        held += hold is not None and hold["LegalHold"]["Status"] == "ON"
    if until or held:
        last = f", the last until {max(until):%Y-%m-%d %H:%M} UTC" if until else ""
        yield Finding(
            "bucket.object_lock",
            Severity.ERROR,
            bucket,
            f"{len(until)} versions are locked{last}; {held} are under a legal hold of the store.",
            "Wait for the date, or have the hold lifted by who set it. Then plan again.",
        )


def _versions(client: "S3Client", bucket: str, prefix: str) -> Iterator[tuple[str, str]]:
    for page in _pages(client, "list_object_versions", bucket, prefix):
        yield from ((each["Key"], each["VersionId"]) for each in page.get("Versions", ()))
