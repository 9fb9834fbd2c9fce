"""Plain HTTP to a tenant's bucket: denied where that is possible, and said where it is not.

# Note [Plain HTTP is denied where there is an alternative]
With an https endpoint each bucket gets a policy that denies its use over plain HTTP; SeaweedFS enforces it. With an
http endpoint (the embedded store, on the loopback address) the same policy would lock us out, so none is set. Nor can
it stay where a proxy ends TLS in front of a store that does not see it: SeaweedFS 4.48 goes by its own connection
alone, whatever X-Forwarded-Proto says. So the policy is tried at once and taken back where it refuses us, and it
names the data actions only: a denied s3:* would deny its own removal as well. On AWS, where neither can happen, it
denies everything, as AWS's own rule s3-bucket-ssl-requests-only asks.
"""

from collections.abc import Iterator
from typing import Any

from django.conf import settings

from provisioning.providers import policies
from provisioning.providers.s3 import StoreRefused, is_loopback, s3_client, s3_errors, speaks_tls
from tenants.findings import Finding, Severity

ON_BUCKET = ("s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads", "s3:ListBucketVersions")
ON_OBJECTS = (
    "s3:AbortMultipartUpload",
    "s3:DeleteObject",
    "s3:DeleteObjectVersion",
    "s3:GetObject",
    "s3:GetObjectTagging",
    "s3:GetObjectVersion",
    "s3:ListMultipartUploadParts",
    "s3:PutObject",
    "s3:PutObjectTagging",
)
"""Data only. With s3:* a tenant could delete its bucket, switch versioning off, or open the bucket to others."""
SID = "DenyPlainHttp"


def deny_plain_http(bucket: str) -> None:
    """See Note [Plain HTTP is denied where there is an alternative]."""
    if not speaks_tls():
        return
    policies.put(bucket, {SID: statement_of(bucket)})
    try:
        with s3_errors("list", bucket):
            s3_client().list_objects_v2(Bucket=bucket, MaxKeys=1)
    except StoreRefused:
        policies.put(bucket, {SID: None})


def statement_of(bucket: str) -> dict[str, Any]:
    """AWS, "Security best practices for Amazon S3": deny where aws:SecureTransport is false."""
    here = f"arn:aws:s3:::{bucket}"
    return {
        "Effect": "Deny",
        "Principal": "*",
        "Action": [*ON_BUCKET, *ON_OBJECTS] if settings.S3_ENDPOINT_URL else "s3:*",
        "Resource": [here, f"{here}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


def verified(bucket: str) -> Iterator[Finding]:
    code = "bucket.plain_http"
    if not speaks_tls():
        severity = Severity.INFO if is_loopback() else Severity.WARNING
        message = "Plain HTTP is allowed, because S3_ENDPOINT_URL itself is plain HTTP."
        yield Finding(
            code, severity, bucket, message, "Outside one machine, set S3_ENDPOINT_URL to an https:// address."
        )
        return
    if SID not in {statement.get("Sid") for statement in policies.statements(bucket)}:
        message = "Plain HTTP is not denied."
        hint = "Provision it again. If this stays, the store does not see TLS behind its proxy: close its plain port."
        yield Finding(code, Severity.WARNING, bucket, message, hint)
