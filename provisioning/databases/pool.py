"""The pool tier: a tenant is rows under its id in tables it shares, and a door in the guard that lets it in.

# Note [What is the pool's own is looked at once a minute]
Shape, owners, grants and the catalog check of a pool are the same for each of its ten thousand tenants, and take longer
than all else that verifying one of them needs. So a pool without fault is not looked at again by the same process for
CLEAN_FOR; a fault is never remembered. What is the tenant's own (its door, the rows it begins with) is always looked
at. Weighed against a stamp of the catalog's rows, which would be exact and cost each tenant the reading of some two
thousand of them.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from uuid import UUID

from provisioning.databases import guard, pool_layout, pool_rows, pooling, space
from provisioning.databases.ddl import GUARD
from provisioning.databases.door import GRACE, inside_as, wait_for, wait_until_left
from provisioning.databases.fencing import fenced
from provisioning.databases.pools import pool_of
from provisioning.databases.releases import release_named
from provisioning.databases.servers import Connection, run, session
from provisioning.engine.rows import answer
from provisioning.errors import Permanent
from provisioning.models import Claim, Handle
from tenants.context import TenantContext
from tenants.findings import Finding, Severity
from tenants.isolation.tickets import ERASE
from tenants.models import Pool
from tenants.placement import pool_group, pool_role

CLEAN_FOR = timedelta(minutes=1)

_DOOR = f"SELECT incarnation, open FROM {GUARD}.placement WHERE tenant = %s"


class FormerLife(Permanent):
    """An earlier life of the tenant still has rows in its pool."""

    code = "FORMER_LIFE"
    cure = "Finish the operation that was to remove them, then ask again."


class NoDoor(Permanent):
    """The tenant, in this life, has no door in its pool that could be opened."""

    code = "NO_DOOR"
    cure = "Find out what became of its rows before anything else: an onboarding makes both together."


class PoolTier:
    """Door and rows come in one transaction, and go in one: a door of this life says that its rows were all there."""

    def provision(self, tenant: TenantContext, handle: Handle, *, claim: Claim) -> None:
        pool, release = pool_of(tenant), release_named(handle["release"])
        pool_layout.ensure(pool)
        with fenced(tenant, claim, pool.cluster) as connection:
            door = _door(connection, tenant.tenant_id)
            if door is None:
                guard.open_door(connection, tenant)
                guard.enter(connection, tenant)
                pool_rows.seed(connection, release, pool.schema)
            elif door[0] != tenant.incarnation:
                raise FormerLife(f"An earlier life of {tenant.slug} still has rows in {pool.schema}.")

    def verify(self, tenant: TenantContext, handle: Handle) -> Iterator[Finding]:
        with _inside(tenant) as (pool, connection):
            yield from seen(connection, pool)
            door = _door(connection, tenant.tenant_id)
            if door is None or door[0] != tenant.incarnation:
                yield _finding("NOT_IN_POOL", tenant.key, f"This life of the tenant has no door in {pool.schema}.")
                return
            if not door[1]:
                yield _finding("DOOR_CLOSED", tenant.key, f"The tenant's door in {pool.schema} is closed.")
            if _is_being_made(tenant):
                yield from _missing_rows(connection, tenant, pool, handle)

    def count(self, tenant: TenantContext, handle: Handle) -> int:
        with _inside(tenant) as (_pool, connection):
            return pool_rows.count(connection, handle["schema"], tenant.tenant_id)

    def erase(self, tenant: TenantContext, handle: Handle, *, limit: int) -> int:
        """Closes the door and waits until it is empty: nobody adds rows while they go, or after that."""
        with _inside(tenant) as (pool, connection):
            if not _lives_here(connection, tenant):
                return 0
            guard.close_door(connection, tenant)
            wait_until_left(connection, _logins(pool, tenant))
            with connection.transaction():
                guard.enter(connection, tenant, ERASE)
                return pool_rows.erase(connection, handle["schema"], limit=limit)

    def deprovision(self, tenant: TenantContext, handle: Handle, *, claim: Claim) -> None:
        pool = pool_of(tenant)
        with fenced(tenant, claim, pool.cluster) as connection:
            if not _lives_here(connection, tenant):
                return
            guard.close_door(connection, tenant)
        with session(pool.cluster) as connection:  # who came in before the door closed would leave rows of nobody
            wait_until_left(connection, _logins(pool, tenant))
        with fenced(tenant, claim, pool.cluster) as connection:
            guard.enter(connection, tenant, ERASE)
            pool_rows.erase_all(connection, handle["schema"])
            run(connection, "RESET ROLE")
            guard.forget(connection, tenant)

    def shut(self, tenant: TenantContext, handle: Handle, *, claim: Claim) -> None:  # noqa: ARG002
        """Nobody enters as the tenant from now on. Who is inside has GRACE; neighbours of its role are left alone."""
        pool = pool_of(tenant)
        with fenced(tenant, claim, pool.cluster) as connection:
            guard.close_door(connection, tenant)
        with session(pool.cluster) as connection:
            wait_for(connection, inside_as(connection, tenant.tenant_id), within=GRACE)

    def open(self, tenant: TenantContext, handle: Handle, *, claim: Claim) -> None:  # noqa: ARG002
        pool = pool_of(tenant)
        with fenced(tenant, claim, pool.cluster) as connection:
            if not _lives_here(connection, tenant):
                raise NoDoor(f"{tenant.slug} has no door in {pool.schema}.")
            guard.open_door(connection, tenant)

    def ajar(self, tenant: TenantContext, handle: Handle) -> Iterator[Finding]:  # noqa: ARG002
        with _inside(tenant) as (pool, connection):
            if (door := _door(connection, tenant.tenant_id)) is not None and door[1]:
                yield _finding("DOOR_AJAR", tenant.key, f"The tenant's door in {pool.schema} is open.")
            elif inside_as(connection, tenant.tenant_id):
                yield _finding("STILL_INSIDE", tenant.key, f"A transaction of the tenant goes on in {pool.schema}.")


_clean: dict[UUID, float] = {}
"""When this process last found no fault with a pool, by the monotonic clock."""


def seen(connection: Connection, pool: Pool) -> list[Finding]:
    """What is wrong with the pool itself. See Note [What is the pool's own is looked at once a minute]."""
    now = time.monotonic()
    if pool.pk in _clean and now - _clean[pool.pk] < CLEAN_FOR.total_seconds():
        return []
    found = list(faults(connection, pool))
    if not found:
        _clean[pool.pk] = now
    return found


def look_again() -> None:
    """Whatever this process knows of pools is forgotten: the next look is a look."""
    _clean.clear()


def faults(connection: Connection, pool: Pool) -> Iterator[Finding]:
    """The pool as it is now: there, of its release's shape, safe to share, and reached by whom it should be."""
    if not pool_layout.is_there(connection, pool):
        yield _finding("POOL_MISSING", pool.schema, "The pool's schema is not there.")
        return
    release = release_named(pool.release)
    yield from pooling.faults(connection, pool.schema)
    yield from space.shape_faults(connection, pool.schema, release.name, release.pool_fingerprint, release.pool_shape)
    yield from space.reach_faults(connection, pool.schema, role=pool_group(pool.pk), only_read=pooling.SHARED_TABLES)


def _missing_rows(connection: Connection, tenant: TenantContext, pool: Pool, handle: Handle) -> Iterator[Finding]:
    expected = pool_rows.seeded(release_named(handle["release"]))
    found = pool_rows.counts(connection, pool.schema, tenant.tenant_id, list(expected))
    for table, number in expected.items():
        if found[table] != number:
            message = f"{table} has {found[table]} rows of the tenant, and its release begins with {number}."
            yield _finding("ROWS_DIFFER", tenant.key, message)


def _is_being_made(tenant: TenantContext) -> bool:
    """Later, what rows a tenant has is its own affair."""
    return answer("SELECT true FROM tenants_tenant WHERE id = %s AND release = ''", [tenant.tenant_id]) is not None


def _door(connection: Connection, tenant_id: UUID) -> tuple[UUID, bool] | None:
    """Which life of the tenant lives in this database, and whether it is let in. None: none does."""
    rows = run(connection, _DOOR, tenant_id)
    return (rows[0][0], bool(rows[0][1])) if rows else None


def _logins(pool: Pool, tenant: TenantContext) -> tuple[str, str]:
    """The roles that may be inside as this tenant: the pool's, and the tenant's own if it has one."""
    return pool_role(pool.pk), tenant.key


def _lives_here(connection: Connection, tenant: TenantContext) -> bool:
    door = _door(connection, tenant.tenant_id)
    return door is not None and door[0] == tenant.incarnation


@contextmanager
def _inside(tenant: TenantContext) -> Iterator[tuple[Pool, Connection]]:
    pool = pool_of(tenant)
    with session(pool.cluster) as connection:
        yield pool, connection


def _finding(code: str, subject: str, message: str) -> Finding:
    hint = "Retry the operation that makes it."
    return Finding(code=code, severity=Severity.ERROR, subject=subject, message=message, hint=hint)
