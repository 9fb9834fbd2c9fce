"""The register of pools: which of a cluster's takes the next tenant, and what its shared role logs in with.

Pools are made on demand. A place is taken in the fullest pool that still has one, so that as few as can be are open;
where none has, the next row `pool_<n>` is made, and the first tenant's step lays it out (see `pool_layout`).
"""

import secrets
from collections.abc import Iterable
from uuid import UUID, uuid4

from django.db import transaction
from django.db.models import F

from provisioning.databases.releases import NoRelease, current_release
from provisioning.engine.rows import answer, found
from provisioning.errors import Permanent
from provisioning.models import Release
from tenants.actions import Actor, AuditAction, ObjectType
from tenants.audit import write as audit
from tenants.context import TenantContext
from tenants.isolation.crypto import seal, unseal
from tenants.models import Cluster, Pool

PURPOSE = "pool"
PREFIX = "pool_"
PASSWORD_BYTES = 32


class ReleaseCannotBePooled(Permanent):
    """The current release of the tenant application cannot live in tables that tenants share."""

    code = "RELEASE_CANNOT_BE_POOLED"
    cure = "Choose a plan of another tier, or change the migration and publish again."


def pooled_release() -> Release:
    """The current release, if its tables can be shared. Raises NoRelease, or ReleaseCannotBePooled and why."""
    release = current_release()
    if release is None:
        raise NoRelease
    if release.pool_refusals:
        first, more = release.pool_refusals[0], len(release.pool_refusals) - 1
        others = f" And {more} more." if more else ""
        raise ReleaseCannotBePooled(
            f"Release {release.name}: {first['reason']} In: {' '.join(first['statement'].split())[:300]}{others}",
            cure=f"{first['instead']} Then publish again; or choose a plan of another tier.",
            refusals=len(release.pool_refusals),
        )
    if not release.pool_fingerprint:
        raise ReleaseCannotBePooled(
            f"Release {release.name} was published by a version of Tenure that knew no pools.",
            cure="Publish again with any change of a migration, or choose a plan of another tier.",
        )
    return release


def next_pool(cluster: Cluster) -> Pool:
    """Where the next pool tenant of this cluster would go: a row, or one that is not saved yet. Raises as above."""
    release = pooled_release()
    rows = list(Pool.objects.filter(cluster=cluster).order_by("created_at", "schema"))
    fitting = [pool for pool in rows if not why_not(pool, release.name)]
    return max(fitting, key=lambda pool: pool.placed) if fitting else _another(cluster, release, rows)


def take_places(cluster: Cluster, wanted: int) -> tuple[Pool, int]:
    """At most so many places in one pool, and how many. The caller holds the lock on the cluster's row."""
    pool = next_pool(cluster)
    taken = min(wanted, pool.capacity - pool.placed)
    if pool._state.adding:  # noqa: SLF001
        pool.save(force_insert=True)
    Pool.objects.filter(pk=pool.pk).update(placed=F("placed") + taken)
    return pool, taken


def recount(pool: Pool) -> None:
    """After a place was given back, under the same lock."""
    Pool.objects.filter(pk=pool.pk).update(placed=pool.placements.filter(active=True).count())


def why_not(pool: Pool, release: str = "") -> str:
    """In a word or two; empty if it takes a tenant, of this release where one is named."""
    if pool.state != Pool.State.OPEN:
        return pool.state
    if pool.placed >= pool.capacity:
        return f"full ({pool.placed} of {pool.capacity})"
    if release and pool.release != release:
        return f"on release {pool.release}"
    return ""


def said(cluster: Cluster) -> str:
    """How the cluster's pools stand, for a refusal: `pool_1 is full (3 of 3), pool_2 is draining`."""
    rows = Pool.objects.filter(cluster=cluster).order_by("created_at", "schema")
    return ", ".join(f"{pool} is {why_not(pool) or f'open ({pool.placed} of {pool.capacity})'}" for pool in rows)


def change_pool(*, pool: Pool, actor: Actor, state: str | None = None, capacity: int | None = None) -> Pool:
    """Open, drain or close a pool, or change its capacity: below what it holds it only stops new tenants."""
    asked = {"state": state, "capacity": capacity}
    with transaction.atomic():
        Cluster.objects.select_for_update().get(pk=pool.cluster_id)  # whoever takes a place waits for us, and we for it
        pool = Pool.objects.select_for_update().get(pk=pool.pk)
        for field, value in asked.items():
            if value is not None:
                setattr(pool, field, value)
        pool.full_clean(exclude=["sealed_password"])
        pool.save(update_fields=list(asked))
        audit(AuditAction.POOL_CHANGED, actor=actor, object=(ObjectType.POOL, pool.pk))
    return pool


def pool_of(tenant: TenantContext) -> Pool:
    """The tenant's pool, with its cluster. Raises LookupError for a tenant that is in none.

    Every onboarding asks for it thrice. Two statements that the server keeps prepared are half the work of a join.
    """
    pool = found(Pool, "id = %s", [_pool_id(tenant)])
    cluster = found(Cluster, "id = %s", [pool.cluster_id]) if pool else None
    if pool is None or cluster is None:
        raise Pool.DoesNotExist
    pool.cluster = cluster
    return pool


def pool_release(tenant: TenantContext) -> str:
    """Name of the release that the tables of the tenant's pool are on. Raises LookupError as above."""
    found = answer("SELECT release FROM tenants_pool WHERE id = %s", [_pool_id(tenant)])
    if found is None:
        raise Pool.DoesNotExist
    return str(found[0])


def password_of(pool: Pool) -> str:
    """Of the role that its tenants share. Raises a SealError that says the cure."""
    return unseal(bytes(pool.sealed_password), purpose=PURPOSE, owner=str(pool.pk)).decode()


def new_password(pool: Pool) -> bytes:
    """Another one, as the row keeps it."""
    return seal(secrets.token_urlsafe(PASSWORD_BYTES).encode(), purpose=PURPOSE, owner=str(pool.pk))


def _pool_id(tenant: TenantContext) -> UUID:
    if tenant.pool_id is None:
        raise LookupError(f"{tenant.slug} is in no pool.")
    return tenant.pool_id


def _another(cluster: Cluster, release: Release, others: Iterable[Pool]) -> Pool:
    numbers = [int(pool.schema.removeprefix(PREFIX)) for pool in others]
    pool = Pool(pk=uuid4(), cluster=cluster, schema=f"{PREFIX}{max(numbers, default=0) + 1}", release=release.name)
    pool.sealed_password = new_password(pool)
    return pool
