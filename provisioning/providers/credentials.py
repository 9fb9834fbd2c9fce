"""Storage credentials are vended, not kept: minutes long, under a session policy for one bucket, or one prefix of it.

# Note [No user per tenant]
One IAM user per tenant does not scale: AWS stops at 5,000 users an account, and the embedded store takes 0.9 s for the
200th. So one vending identity asks for a session: GetFederationToken, or on AWS AssumeRole with session tags when
S3_VENDING_ROLE_ARN is set (a role may be told apart in CloudTrail, and its trust may demand the tags). A session gets
what its policy AND the identity behind it allow. It outlives the loss of that identity's key: ending one early takes
a Deny on the bucket.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from django.conf import settings

from provisioning.errors import Permanent
from provisioning.models import Claim, Handle, ResourceKind
from provisioning.providers.bucket import CLEAN_FOR, Place, own_place, place_of
from provisioning.providers.s3 import (
    BucketMissing,
    StoreRefused,
    region,
    s3_client,
    s3_client_as,
    s3_client_holding,
    s3_errors,
    sts_client,
)
from provisioning.providers.transport import ON_BUCKET, ON_OBJECTS
from tenants.context import TenantContext
from tenants.findings import Finding, Severity
from tenants.placement import tenant_key

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

LISTS = ("s3:ListBucket", "s3:ListBucketVersions")
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
    prefix: str = ""

    def client(self) -> "S3Client":
        return s3_client_as(self.access_key_id, self.secret_access_key, self.session_token)

    def held(self) -> AbstractContextManager["S3Client"]:
        """The same for some calls in a row, without making a client."""
        return s3_client_holding(self.access_key_id, self.secret_access_key, self.session_token)


def vend(tenant: TenantContext, handle: Handle, *, duration_s: int = SHORTEST_S) -> StorageCredentials:
    """A session of `duration_s` seconds (900 to 3,600) for the tenant's own place. Nothing about it is stored.

    `handle` is the one of StorageCredentialsProvider.plan. Raises BadDuration, NotOwnBucket, StoreRefused or
    StoreUnreachable.
    """
    if not SHORTEST_S <= duration_s <= LONGEST_S:
        raise BadDuration
    place = own_place(tenant, handle)
    name = tenant.tenant_id.hex  # 32 characters: the most that GetFederationToken takes, so without `t-`
    session: dict[str, Any] = {"Policy": json.dumps(session_policy(place)), "DurationSeconds": duration_s}
    with s3_errors("vend credentials for", place.bucket):
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
        bucket=place.bucket,
        prefix=place.prefix,
    )


def session_policy(place: Place) -> dict[str, Any]:
    """IAM User Guide, "Session policies": at most 2,048 characters, and it only takes away.

    Below a prefix only lists that name the prefix are allowed. A list of unfinished uploads cannot be held to one
    (Service Authorization Reference, "Amazon S3": it has no s3:prefix), and neither can HEAD of the bucket.
    """
    here = f"arn:aws:s3:::{place.bucket}"
    listing: dict[str, Any] = {"Effect": "Allow", "Action": ON_BUCKET, "Resource": here}
    if place.prefix:
        listing |= {"Action": LISTS, "Condition": {"StringLike": {"s3:prefix": f"{place.prefix}*"}}}
    objects = {"Effect": "Allow", "Action": ON_OBJECTS, "Resource": f"{here}/{place.prefix}*"}
    return {"Version": "2012-10-17", "Statement": [listing, objects]}


MOST_KEPT = 8
_vended: dict[UUID, StorageCredentials] = {}
"""By life of a tenant: the session of its onboarding, for the first look at what it reaches. Each later look vends."""


class StorageCredentialsProvider:
    """Proves that credentials can be vended, and what they reach. It holds nothing, so there is nothing to count."""

    kind = ResourceKind.STORAGE_CREDENTIALS

    def plan(self, tenant: TenantContext) -> Handle:
        return place_of(tenant)

    def provision(self, tenant: TenantContext, handle: Handle, *, claim: Claim) -> None:  # noqa: ARG002
        """Vend once: a store that cannot fails the onboarding, not the tenant. What it reaches, `verify` looks at."""
        _vended[tenant.incarnation] = vend(tenant, handle)
        while len(_vended) > MOST_KEPT:
            _vended.pop(next(iter(_vended)), None)

    def verify(self, tenant: TenantContext, handle: Handle) -> Iterator[Finding]:
        credentials = _vended.pop(tenant.incarnation, None) or vend(tenant, handle)
        own = Place(credentials.bucket, credentials.prefix)
        with credentials.held() as client:
            found = [*_too_narrow(client, own), *_beyond(client, own)]
        yield from found

    def count(self, tenant: TenantContext, handle: Handle) -> int:  # noqa: ARG002
        return 0

    def erase(self, tenant: TenantContext, handle: Handle, *, limit: int) -> int:  # noqa: ARG002
        return 0

    def deprovision(self, tenant: TenantContext, handle: Handle, *, claim: Claim) -> None:
        """Nothing is kept. A session vended before lives until it runs out, without a bucket to reach."""


def reach(client: "S3Client", own: Place) -> Iterator[Finding]:
    """What is wrong with what `client` reaches, when it should reach `own` alone.

    Reading attempts only: where isolation is broken, a check must not write into a neighbour's place.
    """
    yield from _too_narrow(client, own)
    yield from _too_wide(client, own)


def _too_narrow(client: "S3Client", own: Place) -> Iterator[Finding]:
    if not _allowed(own.bucket, lambda: client.list_objects_v2(Bucket=own.bucket, Prefix=own.prefix, MaxKeys=1)):
        message = f"Vended credentials do not reach the tenant's own {'prefix' if own.prefix else 'bucket'}."
        hint = "Check that the vending identity's own policies allow the bucket: a session only takes away."
        yield Finding("credentials.too_narrow", Severity.ERROR, str(own), message, hint)


_kept_apart: dict[str, float] = {}
"""When this process last saw the store refuse what lies beside a tenant's prefix, by bucket and monotonic clock."""


def _beyond(client: "S3Client", own: Place) -> list[Finding]:
    """In a pool every tenant's policy is the same but for its id, so that the store keeps to it is the pool's own.

    See bucket.py's Note [A pool's bucket is set up once].
    """
    fresh = time.monotonic() - _kept_apart.get(own.bucket, float("-inf")) < CLEAN_FOR.total_seconds()
    if own.prefix and fresh:
        return []
    found = list(_too_wide(client, own))
    if own.prefix and not found:
        _kept_apart[own.bucket] = time.monotonic()
    return found


def _too_wide(client: "S3Client", own: Place) -> Iterator[Finding]:
    if (neighbour := _beside(own)) is None:
        return
    absent = f"{neighbour.prefix}tenure-probe-{uuid4()}"
    attempts: dict[str, Callable[[], object]] = {
        "list": lambda: client.list_objects_v2(Bucket=neighbour.bucket, Prefix=neighbour.prefix, MaxKeys=1),
        "read": lambda: client.get_object(Bucket=neighbour.bucket, Key=absent),
    }
    for verb, attempt in attempts.items():
        if _allowed(neighbour.bucket, attempt):
            whose = "another tenant's prefix" if own.prefix else f"another tenant's bucket, {neighbour}"
            message = f"Vended credentials may {verb} in {whose}."
            hint = "Stop handing out credentials: this store does not keep to session policies. See its STS manual."
            yield Finding("credentials.too_wide", Severity.CRITICAL, str(own), message, hint)


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


def _beside(own: Place) -> Place | None:
    """Where another tenant's objects are, or in a pool would be: policies know of no tenants, so any prefix will do."""
    if own.prefix:
        return Place(own.bucket, f"{tenant_key(uuid4())}/")
    return None if (bucket := _neighbour(own.bucket)) is None else Place(bucket)


def _neighbour(bucket: str) -> str | None:
    """Another tenant's bucket, as the store itself lists them; None when this tenant is the only one."""
    with s3_errors("list buckets beside", bucket):
        reply = s3_client().list_buckets(Prefix="t-", MaxBuckets=2)
    return next((name for each in reply["Buckets"] if (name := each.get("Name", bucket)) != bucket), None)
