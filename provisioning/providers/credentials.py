"""Storage credentials are vended, not kept: minutes long, under a session policy that reaches one bucket.

# Note [No user per tenant]
One IAM user per tenant does not scale: AWS stops at 5,000 users an account, and the embedded store takes 0.9 s for the
200th. So one vending identity asks for a session: GetFederationToken, or on AWS AssumeRole with session tags when
S3_VENDING_ROLE_ARN is set (a role may be told apart in CloudTrail, and its trust may demand the tags). A session gets
what its policy AND the identity behind it allow. It outlives the loss of that identity's key: ending one early takes
a Deny on the bucket.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from django.conf import settings

from provisioning.errors import Permanent
from provisioning.models import Claim, Handle, ResourceKind
from provisioning.providers.bucket import own_bucket
from provisioning.providers.s3 import (
    BucketMissing,
    StoreRefused,
    region,
    s3_client,
    s3_client_as,
    s3_errors,
    sts_client,
)
from provisioning.providers.transport import ON_BUCKET, ON_OBJECTS
from tenants.context import TenantContext
from tenants.findings import Finding, Severity
from tenants.placement import bucket_name

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SHORTEST_S, LONGEST_S = 900, 3_600  # AWS: GetFederationToken and AssumeRole take no less; longer is not short-lived


class BadDuration(Permanent):
    """Storage credentials last 900 to 3,600 seconds."""

    code = "BAD_DURATION"
    cure = "Ask for a number of seconds in that range, and ask again when they have run out."


@dataclass(frozen=True, slots=True)
class StorageCredentials:
    """What an S3 client needs. `endpoint_url` None is AWS itself. Its repr shows no secret."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    expires_at: datetime
    endpoint_url: str | None
    region: str
    bucket: str

    def client(self) -> "S3Client":
        return s3_client_as(self.access_key_id, self.secret_access_key, self.session_token)


def vend(tenant: TenantContext, handle: Handle, *, duration_s: int = SHORTEST_S) -> StorageCredentials:
    """A session of `duration_s` seconds (900 to 3,600) for the tenant's own bucket. Nothing about it is stored.

    `handle` is the one of StorageCredentialsProvider.plan. Raises BadDuration, NotOwnBucket, StoreRefused or
    StoreUnreachable.
    """
    if not SHORTEST_S <= duration_s <= LONGEST_S:
        raise BadDuration
    bucket = own_bucket(tenant, handle)
    name = tenant.tenant_id.hex  # 32 characters: the most that GetFederationToken takes, so without `t-`
    session: dict[str, Any] = {"Policy": json.dumps(session_policy(bucket)), "DurationSeconds": duration_s}
    with s3_errors("vend credentials for", bucket):
        if settings.S3_VENDING_ROLE_ARN:
            reply: Any = sts_client().assume_role(
                RoleArn=settings.S3_VENDING_ROLE_ARN,
                RoleSessionName=name,
                Tags=[{"Key": "tenant", "Value": name}],
                **session,
            )
        else:
            reply = sts_client().get_federation_token(Name=name, **session)
    given = reply["Credentials"]
    return StorageCredentials(
        access_key_id=given["AccessKeyId"],
        secret_access_key=given["SecretAccessKey"],
        session_token=given["SessionToken"],
        expires_at=given["Expiration"],
        endpoint_url=settings.S3_ENDPOINT_URL,
        region=region(),
        bucket=bucket,
    )


def session_policy(bucket: str) -> dict[str, Any]:
    """IAM User Guide, "Session policies": at most 2,048 characters, and it only takes away."""
    here = f"arn:aws:s3:::{bucket}"
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": ON_BUCKET, "Resource": here},
            {"Effect": "Allow", "Action": ON_OBJECTS, "Resource": f"{here}/*"},
        ],
    }


class StorageCredentialsProvider:
    """Proves that credentials can be vended, and what they reach. It holds nothing, so there is nothing to count."""

    kind = ResourceKind.STORAGE_CREDENTIALS

    def plan(self, tenant: TenantContext) -> Handle:
        return {"bucket": bucket_name(tenant.tenant_id)}

    def provision(self, tenant: TenantContext, handle: Handle, *, claim: Claim) -> None:  # noqa: ARG002
        """Vend once and list the own bucket with it: a store that cannot fails the onboarding, not the tenant."""
        credentials = vend(tenant, handle)
        with s3_errors("list with vended credentials", credentials.bucket):
            credentials.client().list_objects_v2(Bucket=credentials.bucket, MaxKeys=1)

    def verify(self, tenant: TenantContext, handle: Handle) -> Iterator[Finding]:
        credentials = vend(tenant, handle)
        yield from reach(credentials.client(), credentials.bucket)

    def count(self, tenant: TenantContext, handle: Handle) -> int:  # noqa: ARG002
        return 0

    def erase(self, tenant: TenantContext, handle: Handle, *, limit: int) -> int:  # noqa: ARG002
        return 0

    def deprovision(self, tenant: TenantContext, handle: Handle, *, claim: Claim) -> None:
        """Nothing is kept. A session vended before lives until it runs out, without a bucket to reach."""


def reach(client: "S3Client", bucket: str) -> Iterator[Finding]:
    """What is wrong with what `client` reaches, when it should reach `bucket` alone.

    Reading attempts only: where isolation is broken, a check must not write into a neighbour's bucket.
    """
    if not _allowed(bucket, lambda: client.list_objects_v2(Bucket=bucket, MaxKeys=1)):
        message = "Vended credentials do not reach the tenant's own bucket."
        hint = "Check that the vending identity's own policies allow the bucket: a session only takes away."
        yield Finding("credentials.too_narrow", Severity.ERROR, bucket, message, hint)
    if (neighbour := _neighbour(bucket)) is None:
        return
    absent = f"tenure-probe-{uuid4()}"
    attempts: dict[str, Callable[[], object]] = {
        "list": lambda: client.list_objects_v2(Bucket=neighbour, MaxKeys=1),
        "read": lambda: client.get_object(Bucket=neighbour, Key=absent),
    }
    for verb, attempt in attempts.items():
        if _allowed(neighbour, attempt):
            message = f"Vended credentials may {verb} in another tenant's bucket, {neighbour}."
            hint = "Stop handing out credentials: this store does not keep to session policies. See its STS manual."
            yield Finding("credentials.too_wide", Severity.CRITICAL, bucket, message, hint)


def _allowed(bucket: str, attempt: Callable[[], object]) -> bool:
    """Whether the store let it through. "No such key" is an answer from inside: it was looked for."""
    try:
        with s3_errors("try", bucket):
            attempt()
    except BucketMissing:
        return False
    except StoreRefused as error:
        return error.metadata.get("vendor_code") == "NoSuchKey"
    return True


def _neighbour(bucket: str) -> str | None:
    """Another tenant's bucket, as the store itself lists them; None when this tenant is the only one."""
    with s3_errors("list buckets beside", bucket):
        reply = s3_client().list_buckets(Prefix="t-", MaxBuckets=2)
    return next((name for each in reply["Buckets"] if (name := each.get("Name", bucket)) != bucket), None)
