"""A versioned bucket per tenant, or a prefix of its pool's, spoken to through the S3 API alone: any S3 store will do.

# Note [A store may delete a bucket that is not empty]
S3 answers BucketNotEmpty to DeleteBucket. SeaweedFS 4.48 does so for plain objects, but deletes a bucket that holds
nothing but versions, delete markers and unfinished uploads, with everything in it. So nothing here relies on that
answer: a bucket is emptied and counted to zero before it is deleted.

# Note [A pool's bucket is set up once]
The tenants of a pool have a prefix each: `t_<32 hex>/`, of one length and ended by a slash, so that none is the
beginning of another. Their bucket is the pool's and is never deleted here. It is set up by the first of them; its tags
are put last, and say to all others in one call that it is. Its settings are looked at once a minute by each process, as
long as nothing is wrong with them: see pool.py's Note [What is the pool's own is looked at once a minute].
"""

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from provisioning.errors import Permanent
from provisioning.models import Claim, Handle, ResourceKind
from provisioning.providers import public_access, shutting, transport
from provisioning.providers.s3 import (
    DEFAULT_REGION,
    BucketMissing,
    StoreUnreachable,
    error_code,
    or_unset,
    region,
    s3_client,
    s3_errors,
)
from tenants.context import TenantContext
from tenants.findings import Finding, Severity
from tenants.placement import bucket_name, pool_bucket

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import ObjectIdentifierTypeDef

CLEAN_FOR = timedelta(minutes=1)
PAGE = 1_000  # the most that S3 lists or deletes in one call
CHUNKS_PER_CALL = 10  # of PAGE items: what one deprovision removes before it lets the engine breathe
STALE_UPLOAD_DAYS = 7
LIFECYCLE: Any = {
    "ID": "abort-stale-uploads",
    "Status": "Enabled",
    "Filter": {"Prefix": ""},
    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": STALE_UPLOAD_DAYS},
}
ENCRYPTION: Any = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}


class BucketTaken(Permanent):
    """Somebody else owns a bucket of this name."""

    code = "BUCKET_TAKEN"
    cure = "Names come from random ids, so this is no accident: find out who made it before anything else."


class NotOwnBucket(Permanent):
    """The handle names another bucket or prefix than this tenant's own."""

    code = "NOT_OWN_BUCKET"
    cure = "Nothing was touched. Find out how the handle of the resource was changed."


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tenant's objects are: a whole bucket, or what is below a prefix of one, which ends with a slash."""

    bucket: str
    prefix: str = ""

    def __str__(self) -> str:
        return f"{self.bucket}/{self.prefix}" if self.prefix else self.bucket


class Bucket:
    """`t-<hex>`: versioned, encrypted, tagged, closed to plain HTTP and to the public where the store can.

    In a pool a prefix of `p-<hex>`: see Note [A pool's bucket is set up once].
    Its items are object versions, delete markers and unfinished uploads: all of them hold, or name, a tenant's data.
    """

    kind = ResourceKind.BUCKET

    def plan(self, tenant: TenantContext) -> Handle:
        return place_of(tenant)

    def provision(self, tenant: TenantContext, handle: Handle, *, claim: Claim) -> None:  # noqa: ARG002  no third party
        client, place = s3_client(), own_place(tenant, handle)
        bucket = place.bucket
        if place.prefix and _is_set_up(tenant, bucket):
            return
        with s3_errors("create", bucket):
            _create(bucket)
        with s3_errors("set up", bucket):
            client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
            client.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [ENCRYPTION]})
            client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [LIFECYCLE]})
        public_access.block(bucket)
        transport.deny_plain_http(bucket)
        with s3_errors("tag", bucket):
            client.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": _tag_set(tenant)})

    def verify(self, tenant: TenantContext, handle: Handle) -> Iterator[Finding]:
        """Severity INFO says what this store cannot do; everything above INFO is a fault of the bucket."""
        place = own_place(tenant, handle)
        yield from _seen(tenant, place.bucket) if place.prefix else _looked_at(tenant, place.bucket)

    def count(self, tenant: TenantContext, handle: Handle) -> int:
        client, place = s3_client(), own_place(tenant, handle)
        here: Any = {"Bucket": place.bucket, "Prefix": place.prefix}
        items = 0
        with suppress(BucketMissing), s3_errors("list", place.bucket):
            for page in client.get_paginator("list_object_versions").paginate(**here):
                items += len(page.get("Versions", ())) + len(page.get("DeleteMarkers", ()))
            for uploads in client.get_paginator("list_multipart_uploads").paginate(**here):
                items += len(uploads.get("Uploads", ()))
        return items

    def erase(self, tenant: TenantContext, handle: Handle, *, limit: int) -> int:
        """Delete at most `limit` (1 to 1,000) items. Returns how many went; 0: none is left, or none could go."""
        client, place = s3_client(), own_place(tenant, handle)
        bucket = place.bucket
        here: Any = {"Bucket": bucket, "Prefix": place.prefix}
        page_size = min(limit, PAGE)
        with suppress(BucketMissing), s3_errors("erase from", bucket):
            page = client.list_object_versions(**here, MaxKeys=page_size)
            found = (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))
            if found:
                doomed: list[ObjectIdentifierTypeDef] = [
                    {"Key": item["Key"], "VersionId": item["VersionId"]} for item in found
                ]
                reply = client.delete_objects(Bucket=bucket, Delete={"Objects": doomed})
                return len(reply.get("Deleted", ()))  # S3 answers 200 even where single keys failed
            uploads = client.list_multipart_uploads(**here, MaxUploads=page_size).get("Uploads", ())[:page_size]
            for upload in uploads:
                client.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
            return len(uploads)
        return 0

    def deprovision(self, tenant: TenantContext, handle: Handle, *, claim: Claim) -> None:  # noqa: ARG002
        """Empty and delete the bucket, or empty the prefix. See Note [A store may delete a bucket that is not empty].

        At most CHUNKS_PER_CALL pages of items go in one call; Transient asks to be called again for the rest.
        """
        client, place = s3_client(), own_place(tenant, handle)
        bucket = place.bucket
        for _chunk in range(CHUNKS_PER_CALL):
            if not self.erase(tenant, handle, limit=PAGE):
                break
        if left := self.count(tenant, handle):
            raise StoreUnreachable(f"Bucket {place} still holds {left} items; the rest goes next time.", left=left)
        if place.prefix:
            return
        with suppress(BucketMissing), s3_errors("delete", bucket):
            client.delete_bucket(Bucket=bucket)
        with suppress(BucketMissing), s3_errors("look for", bucket):
            client.head_bucket(Bucket=bucket)
            raise StoreUnreachable(f"Bucket {bucket} is deleted but still answers.")

    def shut(self, tenant: TenantContext, handle: Handle, *, claim: Claim) -> None:  # noqa: ARG002  no third party
        """What is vended for the tenant, before this or after, is denied. See shutting.py."""
        place = own_place(tenant, handle)
        shutting.settle(place.bucket, name=tenant.tenant_id.hex, pooled=bool(place.prefix), shut=True)

    def open(self, tenant: TenantContext, handle: Handle, *, claim: Claim) -> None:  # noqa: ARG002
        place = own_place(tenant, handle)
        shutting.settle(place.bucket, name=tenant.tenant_id.hex, pooled=bool(place.prefix), shut=False)

    def ajar(self, tenant: TenantContext, handle: Handle) -> Iterator[Finding]:
        place = own_place(tenant, handle)
        with suppress(BucketMissing):
            if tenant.tenant_id.hex in shutting.denied(place.bucket):
                return
            message = "Its policy does not deny what was vended before the tenant was shut."
            yield Finding("bucket.ajar", Severity.ERROR, str(place), message, "Shut the tenant again.")


def place_of(tenant: TenantContext) -> Handle:
    """The handle of a tenant's place: `{"bucket"}`, in a pool `{"bucket", "prefix"}`."""
    if tenant.pool_id is None:
        return {"bucket": bucket_name(tenant.tenant_id)}
    return {"bucket": pool_bucket(tenant.pool_id), "prefix": f"{tenant.key}/"}


def own_place(tenant: TenantContext, handle: Handle) -> Place:
    """The place a handle names. Raises NotOwnBucket for any but this tenant's, or it would empty a neighbour's."""
    if dict(handle) != place_of(tenant):
        raise NotOwnBucket
    return Place(**handle)


@dataclass(frozen=True, slots=True)
class _Look:
    """What this process found of a pool's bucket, and when by the monotonic clock."""

    at: float
    found: tuple[Finding, ...]

    @property
    def clean(self) -> bool:
        return all(finding.severity == Severity.INFO for finding in self.found)

    @property
    def fresh(self) -> bool:
        return time.monotonic() - self.at < CLEAN_FOR.total_seconds()


_looks: dict[str, _Look] = {}


def look_again() -> None:
    """Whatever this process knows of pools' buckets is forgotten: the next look is a look."""
    _looks.clear()


def _seen(tenant: TenantContext, bucket: str) -> tuple[Finding, ...]:
    """What is wrong with a pool's bucket."""
    last = _looks.get(bucket)
    if last is None or not (last.clean and last.fresh):
        last = _looks[bucket] = _Look(time.monotonic(), tuple(_looked_at(tenant, bucket)))
    return last.found


def _looked_at(tenant: TenantContext, bucket: str) -> Iterator[Finding]:
    try:
        with s3_errors("look at", bucket):
            yield from _verified(tenant, bucket)
    except BucketMissing as error:
        yield Finding("bucket.missing", Severity.CRITICAL, bucket, str(error), error.cure)


def _is_set_up(tenant: TenantContext, bucket: str) -> bool:
    """Whether no fault was found with it a moment ago; or none when last looked, and its tags are there, put last."""
    last = _looks.get(bucket)
    if last is None or (last.clean and not last.fresh):
        return _is_tagged(tenant, bucket)
    return last.clean


def _is_tagged(tenant: TenantContext, bucket: str) -> bool:
    with suppress(BucketMissing), s3_errors("look at the tags of", bucket):
        tags = or_unset(lambda: s3_client().get_bucket_tagging(Bucket=bucket)["TagSet"]) or []
        return all(tag in tags for tag in _tag_set(tenant))
    return False


def _create(bucket: str) -> None:
    """Success when it is already ours. S3 takes no location for its default region, and needs one for all others."""
    place: dict[str, Any] = {}
    if (where := region()) != DEFAULT_REGION:
        place = {"CreateBucketConfiguration": {"LocationConstraint": where}}
    try:
        s3_client().create_bucket(Bucket=bucket, **place)
    except ClientError as error:
        if error_code(error) == "BucketAlreadyExists":
            raise BucketTaken(f"Somebody else owns a bucket named {bucket}.") from error
        if error_code(error) != "BucketAlreadyOwnedByYou":
            raise


def _tag_set(tenant: TenantContext) -> list[Any]:
    owner = ("tenant", tenant.tenant_id) if tenant.pool_id is None else ("pool", tenant.pool_id)
    return [
        {"Key": f"tenure:{owner[0]}", "Value": owner[1].hex},
        {"Key": "tenure:tier", "Value": str(tenant.tier)},
    ]


def _verified(tenant: TenantContext, bucket: str) -> Iterator[Finding]:
    client = s3_client()
    again = "Run the onboarding step `bucket` again: it sets this anew."
    if client.get_bucket_versioning(Bucket=bucket).get("Status") != "Enabled":
        yield Finding("bucket.versioning", Severity.ERROR, bucket, "Versioning is off: a deleted file is lost.", again)
    encryption = or_unset(lambda: client.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"])
    if "SSEAlgorithm" not in json.dumps(encryption):
        yield Finding("bucket.encryption", Severity.ERROR, bucket, "Objects are not encrypted by default.", again)
    tags = or_unset(lambda: client.get_bucket_tagging(Bucket=bucket)["TagSet"]) or []
    if any(tag not in tags for tag in _tag_set(tenant)):
        yield Finding("bucket.tags", Severity.WARNING, bucket, "The tags do not name its owner and tier.", again)
    rules = or_unset(lambda: client.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]) or []
    if not any("AbortIncompleteMultipartUpload" in rule and rule["Status"] == "Enabled" for rule in rules):
        yield Finding("bucket.lifecycle", Severity.WARNING, bucket, "Unfinished uploads are never removed.", again)
    yield from public_access.verified(bucket, again)
    yield from transport.verified(bucket)
