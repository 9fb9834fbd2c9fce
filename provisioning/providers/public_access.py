"""No bucket of ours is public, whatever an access list or a policy says: blocked where the store can."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from provisioning.providers.s3 import NotOffered, or_unset, s3_client, s3_errors
from tenants.findings import Finding, Severity

BLOCKED: Any = dict.fromkeys(
    ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
)


def block(bucket: str) -> None:
    with suppress(NotOffered), s3_errors("close to the public", bucket):
        s3_client().put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=BLOCKED)


def verified(bucket: str, hint: str) -> Iterator[Finding]:
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
    if blocks != BLOCKED:
        yield Finding(code, Severity.ERROR, bucket, "Public access is not blocked.", hint)
