"""One versioned bucket per tenant, spoken to through the S3 API alone, so that any S3 store will do.

# Note [A store may delete a bucket that is not empty]
S3 answers BucketNotEmpty to DeleteBucket. SeaweedFS 4.48 does so for plain objects, but deletes a bucket that holds
nothing but versions, delete markers and unfinished uploads, with everything in it. So nothing here relies on that
answer: a bucket is emptied and counted to zero before it is deleted.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from provisioning.errors import Permanent
from provisioning.models import Claim, Handle, ResourceKind
from provisioning.providers import transport
from provisioning.providers.s3 import (
    DEFAULT_REGION,
    BucketMissing,
    NotOffered,
    StoreUnreachable,
    error_code,
    or_unset,
    region,
    s3_client,
    s3_errors,
)
from tenants.context import TenantContext
from tenants.findings import Finding, Severity
from tenants.placement import bucket_name

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import ObjectIdentifierTypeDef

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
PUBLIC_ACCESS: Any = dict.fromkeys(
    ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
)


class BucketTaken(Permanent):
    """Somebody else owns a bucket of this name."""

    code = "BUCKET_TAKEN"
    cure = "Names come from random ids, so this is no accident: find out who made it before anything else."


class NotOwnBucket(Permanent):
    """The handle names another bucket than this tenant's own."""

    code = "NOT_OWN_BUCKET"
    cure = "Nothing was touched. Find out how the handle of the resource was changed."


class Bucket:
    """`t-<hex>`: versioned, encrypted, tagged, closed to plain HTTP and to the public where the store can.

    Its items are object versions, delete markers and unfinished uploads: all of them hold, or name, a tenant's data.
    """

    kind = ResourceKind.BUCKET

    def plan(self, tenant: TenantContext) -> Handle:
        return {"bucket": bucket_name(tenant.tenant_id)}

    def provision(self, tenant: TenantContext, handle: Handle, *, claim: Claim) -> None:  # noqa: ARG002  no third party
        client, bucket = s3_client(), own_bucket(tenant, handle)
        with s3_errors("create", bucket):
            _create(bucket)
        with s3_errors("set up", bucket):
            client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
            client.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [ENCRYPTION]})
            client.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": _tag_set(tenant)})
            client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [LIFECYCLE]})
        with suppress(NotOffered), s3_errors("close to the public", bucket):
            client.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=PUBLIC_ACCESS)
        transport.deny_plain_http(bucket)

    def verify(self, tenant: TenantContext, handle: Handle) -> Iterator[Finding]:
        """Severity INFO says what this store cannot do; everything above INFO is a fault of the bucket."""
        bucket = own_bucket(tenant, handle)
        try:
            with s3_errors("look at", bucket):
                yield from _verified(tenant, bucket)
        except BucketMissing as error:
            yield Finding("bucket.missing", Severity.CRITICAL, bucket, str(error), error.cure)

    def count(self, tenant: TenantContext, handle: Handle) -> int:
        client, bucket = s3_client(), own_bucket(tenant, handle)
        items = 0
        with suppress(BucketMissing), s3_errors("list", bucket):
            for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket):
                items += len(page.get("Versions", ())) + len(page.get("DeleteMarkers", ()))
            for uploads in client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket):
                items += len(uploads.get("Uploads", ()))
        return items

    def erase(self, tenant: TenantContext, handle: Handle, *, limit: int) -> int:
        """Delete at most `limit` (1 to 1,000) items. Returns how many went; 0: none is left, or none could go."""
        client, bucket = s3_client(), own_bucket(tenant, handle)
        page_size = min(limit, PAGE)
        with suppress(BucketMissing), s3_errors("erase from", bucket):
            page = client.list_object_versions(Bucket=bucket, MaxKeys=page_size)
            found = (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))
            if found:
                doomed: list[ObjectIdentifierTypeDef] = [
                    {"Key": item["Key"], "VersionId": item["VersionId"]} for item in found
                ]
                reply = client.delete_objects(Bucket=bucket, Delete={"Objects": doomed})
                return len(reply.get("Deleted", ()))  # S3 answers 200 even where single keys failed
            uploads = client.list_multipart_uploads(Bucket=bucket, MaxUploads=page_size).get("Uploads", ())[:page_size]
            for upload in uploads:
                client.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
            return len(uploads)
        return 0

    def deprovision(self, tenant: TenantContext, handle: Handle, *, claim: Claim) -> None:  # noqa: ARG002
        """Empty and delete the bucket. See Note [A store may delete a bucket that is not empty].

        At most CHUNKS_PER_CALL pages of items go in one call; Transient asks to be called again for the rest.
        """
        client, bucket = s3_client(), own_bucket(tenant, handle)
        for _chunk in range(CHUNKS_PER_CALL):
            if not self.erase(tenant, handle, limit=PAGE):
                break
        if left := self.count(tenant, handle):
            raise StoreUnreachable(f"Bucket {bucket} still holds {left} items; the rest goes next time.", left=left)
        with suppress(BucketMissing), s3_errors("delete", bucket):
            client.delete_bucket(Bucket=bucket)
        with suppress(BucketMissing), s3_errors("look for", bucket):
            client.head_bucket(Bucket=bucket)
            raise StoreUnreachable(f"Bucket {bucket} is deleted but still answers.")


def own_bucket(tenant: TenantContext, handle: Handle) -> str:
    """The bucket's name. Raises NotOwnBucket for any but this tenant's: a changed handle must not empty a neighbour."""
    bucket = str(handle["bucket"])
    if bucket != bucket_name(tenant.tenant_id):
        raise NotOwnBucket
    return bucket


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
    return [
        {"Key": "tenure:tenant", "Value": tenant.tenant_id.hex},
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
        yield Finding("bucket.tags", Severity.WARNING, bucket, "The tags do not name its tenant and tier.", again)
    rules = or_unset(lambda: client.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]) or []
    if not any("AbortIncompleteMultipartUpload" in rule and rule["Status"] == "Enabled" for rule in rules):
        yield Finding("bucket.lifecycle", Severity.WARNING, bucket, "Unfinished uploads are never removed.", again)
    yield from _verified_public_access(bucket, again)
    yield from transport.verified(bucket)


def _verified_public_access(bucket: str, hint: str) -> Iterator[Finding]:
    code = "bucket.public_access"
    try:
        with s3_errors("look at the public access block of", bucket):
            blocks = or_unset(
                lambda: s3_client().get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
            )
    except NotOffered:
        yield Finding(
            code,
            Severity.INFO,
            bucket,
            "This object store has no public access block; nothing is public until a policy says so.",
            "Nothing to do: tenants' credentials cannot set policies.",
        )
        return
    if blocks != PUBLIC_ACCESS:
        yield Finding(code, Severity.ERROR, bucket, "Public access is not blocked.", hint)
