"""Fence rows: a worker that lost its lease can write nothing on a cluster, however late it wakes.

`tenure.fence` holds, per tenant, the highest fence that has worked on it. Raising that row opens every transaction of a
step, so a worker with a lower fence finds no row to raise, and one that already holds the row is ended first. CREATE
and DROP DATABASE allow no transaction: they run on a second connection while the first one holds the row.

# Note [How older sessions are found]
Every session that works on a tenant is called `tenure:<run>:<fence>` and holds a shared advisory lock of that tenant,
which stops nobody and shows in pg_locks, on whichever database it is. The lock is taken before anything else, so the
newer claim either finds the session and ends it, or is found by it: a second connection takes the lock, then asks
whether the first is alive, and only then acts. The name alone would not do: a former run's fence row may not be
committed yet, and then nothing tells whose sessions to look for.

Nearly always nobody else is at work. Whoever gets the lock for itself alone has seen that, and need not read pg_locks,
which costs as much as the rest of an opening; then it shares the lock like everybody.

A session that serves one claim after the other (see servers' Note [Sessions are kept]) is as good as a new one: between
two it holds no lock, and it gets its name before the lock. A worker that wakes late takes the lock anew, and finds no
row to raise.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from uuid import UUID

from psycopg import sql

from provisioning.databases.ddl import HOUSE
from provisioning.databases.servers import Connection, connect, run, server_errors, session
from provisioning.errors import StaleFence
from provisioning.models import Claim
from tenants.context import TenantContext
from tenants.models import Cluster

PREFIX = "tenure"
END_WITHIN_MS = 5_000  # how long the server may take to end a session that was told to

_RAISE = sql.SQL(
    """
    INSERT INTO {house}.fence AS standing (tenant_id, fence, run_id) VALUES (%s, %s, %s)
    ON CONFLICT (tenant_id) DO UPDATE SET fence = excluded.fence, run_id = excluded.run_id
    WHERE standing.fence <= excluded.fence
    RETURNING fence
    """
).format(house=sql.Identifier(HOUSE))
_TAKE_PLACE = """
    SELECT alone, pg_advisory_lock_shared(key), CASE WHEN alone THEN pg_advisory_unlock(key) END
    FROM (SELECT key, pg_try_advisory_lock(key) AS alone FROM (SELECT %s::bigint AS key) AS wanted OFFSET 0) AS tried
"""
# pg_locks shows a bigint key in two halves, and objsubid 1 for "one key" (PostgreSQL 18, "pg_locks"). Names are asked
# for by process id, and only where somebody else is at work: pg_stat_activity would look at every session each time.
_AT_WORK = """
    SELECT held.pid, session.application_name
    FROM pg_locks AS held CROSS JOIN LATERAL pg_stat_get_activity(held.pid) AS session
    WHERE locktype = 'advisory' AND objsubid = 1 AND (classid::bigint << 32) | objid::bigint = %s
    AND held.pid <> pg_backend_pid() AND session.application_name LIKE 'tenure:%%'
"""
_END = "SELECT pg_terminate_backend(pid, %s) FROM unnest(%s::int[]) AS pid"


def application_name(claim: Claim) -> str:
    """What every session of a claim is called: 59 bytes at most, of the 63 that PostgreSQL keeps."""
    return f"{PREFIX}:{claim.run_id.hex}:{claim.fence}"


@contextmanager
def fenced(
    tenant: TenantContext, claim: Claim, cluster: Cluster, *, database: str | None = None
) -> Iterator[Connection]:
    """One transaction on the shared database (or on `database`), opened by raising the tenant's fence row.

    Commits when the block ends, rolls back when it raises. Raises StaleFence when a newer claim has been here, and
    ServerUnavailable or ServerRefused for whatever the server raises inside the block.
    """
    with (
        server_errors(cluster.name),
        _at_work(tenant, claim, cluster, database) as connection,
        connection.transaction(),
    ):
        if not run(connection, _RAISE, tenant.tenant_id, claim.fence, claim.run_id):
            raise StaleFence(tenant=str(tenant.tenant_id), fence=claim.fence)
        _end_older_sessions(connection, tenant, claim)  # those that began to work before the row was raised
        yield connection


@contextmanager
def fenced_without_transaction(tenant: TenantContext, claim: Claim, cluster: Cluster) -> Iterator[Connection]:
    """A connection in autocommit, for CREATE and DROP DATABASE, while a first one holds the tenant's fence row."""
    with fenced(tenant, claim, cluster) as holder, _at_work(tenant, claim, cluster, None) as connection:
        run(holder, "SELECT 1")  # fails if a newer claim has ended it; see the Note above
        yield connection


@contextmanager
def _at_work(tenant: TenantContext, claim: Claim, cluster: Cluster, database: str | None) -> Iterator[Connection]:
    name = application_name(claim)
    with (
        session(cluster, application=name)
        if database in {None, cluster.database}
        else connect(cluster, database=database, application=name)
    ) as connection:
        _end_older_sessions(connection, tenant, claim)
        yield connection


def _end_older_sessions(connection: Connection, tenant: TenantContext, claim: Claim) -> None:
    """Take our own place among the sessions at work on the tenant, then end those of older claims."""
    key = _lock_of(tenant.tenant_id)
    ((alone, *_taken),) = run(connection, _TAKE_PLACE, key)
    at_work = [] if alone else run(connection, _AT_WORK, key)
    if older := [pid for pid, name in at_work if _fence_in(name) < claim.fence]:
        run(connection, _END, END_WITHIN_MS, older)


def _fence_in(name: str) -> int:
    """The fence in an application name."""
    return int(name.rpartition(":")[2])


def _lock_of(tenant_id: UUID) -> int:
    """A bigint of its own for every tenant: 64 bits of a hash."""
    return int.from_bytes(sha256(b"tenure/fence\x00" + tenant_id.bytes).digest()[:8], signed=True)
