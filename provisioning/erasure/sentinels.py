"""What is planted in a tenant's own part of a store from its onboarding on, for whoever will look after its erasure.

A control proves that a verifier can see. A sentinel proves that it looks in the right place: before anything went, its
very query had found something in this tenant's part, and now it finds nothing there. It holds nothing of anybody.

# Note [No sentinel in databases]
A table, row or comment that no release knows would be a difference from the blueprint, and in a pool there is no place
that is the tenant's alone. None is needed: what is counted there begins with the schema, the database, or the rows that
every tenant has from its release, so that the same query has found something before.

# Note [A sentinel may be missing]
A tenant may be older than sentinels; a cache may forget, and people delete. Then the store's own control is the proof,
and the certificate says that there was no sentinel.
"""

from botocore.exceptions import ClientError

from provisioning.providers.bucket import own_place, place_of
from provisioning.providers.cache import cache_errors, client
from provisioning.providers.s3 import error_code, s3_client, s3_errors
from tenants.context import TenantContext
from tenants.placement import SENTINEL, cache_sentinel


def plant_in_bucket(tenant: TenantContext) -> None:
    """An empty object of one version, however often it is planted. Raises StoreUnreachable, StoreRefused."""
    place = own_place(tenant, place_of(tenant))
    with s3_errors("plant a sentinel in", place.bucket):
        try:
            s3_client().put_object(Bucket=place.bucket, Key=f"{place.prefix}{SENTINEL}", Body=b"", IfNoneMatch="*")
        except ClientError as error:
            if error_code(error) != "PreconditionFailed":
                raise


def plant_in_cache(tenant: TenantContext) -> None:
    """A key of no life, so that closing one leaves it. Raises CacheUnreachable, CacheRefused."""
    with cache_errors():
        client().set(cache_sentinel(tenant.tenant_id), "1")


def said(*, before: bool | None, now: bool | None) -> str:
    """What a certificate adds to a store's control; nothing where none is planted."""
    if before is None:
        return ""
    if not before:
        return "; no sentinel"
    return "; its sentinel, seen before, is still there" if now else "; its sentinel, seen before, is gone"
