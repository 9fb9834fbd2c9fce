"""Fence rows: a worker that lost its lease can write nothing on a cluster, however late it wakes.

`tenure.fence` holds, per tenant, the highest fence that has worked on it. Raising that row opens every transaction of a
step, so a worker with a lower fence finds no row to raise, and one that already holds the row is ended first. CREATE
and DROP DATABASE allow no transaction: whoever runs them keeps this transaction open meanwhile, on this connection.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import sql

from provisioning.databases.ddl import HOUSE
from provisioning.databases.servers import Connection, connect, run, server_errors
from provisioning.errors import StaleFence
from provisioning.models import Claim
from tenants.context import TenantContext
from tenants.models import Cluster

PREFIX = "tenure"
END_WITHIN_MS = 5_000  # how long the server may take to end a session that was told to
LOCK_TIMEOUT_S = 15  # the row is free once the older sessions are ended; anything longer is an outage

_RAISE = sql.SQL(
    """
    INSERT INTO {house}.fence AS standing (tenant_id, fence, run_id) VALUES (%s, %s, %s)
    ON CONFLICT (tenant_id) DO UPDATE SET fence = excluded.fence, run_id = excluded.run_id
    WHERE standing.fence <= excluded.fence
    RETURNING fence
    """
).format(house=sql.Identifier(HOUSE))
_LAST = sql.SQL("SELECT replace(run_id::text, '-', '') FROM {house}.fence WHERE tenant_id = %s").format(
    house=sql.Identifier(HOUSE)
)
_SESSIONS = "SELECT pid, application_name FROM pg_stat_activity WHERE application_name LIKE ANY (%s)"
_END = "SELECT pg_terminate_backend(pid, %s) FROM unnest(%s::int[]) AS pid"


def application_name(claim: Claim) -> str:
    """What every session of a claim is called, on every database of the cluster: it is found and ended by this."""
    return f"{PREFIX}:{claim.run_id.hex}:{claim.fence}"


def connect_for(claim: Claim, cluster: Cluster, *, database: str | None = None) -> Connection:
    """A further connection of the same claim: it ends together with the one that holds the fence row."""
    return connect(cluster, database=database, application=application_name(claim))


@contextmanager
def fenced(
    tenant: TenantContext, claim: Claim, cluster: Cluster, *, database: str | None = None
) -> Iterator[Connection]:
    """One transaction on the shared database (or on `database`), opened by raising the tenant's fence row.

    Commits when the block ends, rolls back when it raises. Raises StaleFence when a newer claim has been here, and
    ServerUnavailable or ServerRefused for whatever the server raises inside the block.
    """
    with server_errors(cluster.name), connect_for(claim, cluster, database=database) as connection:
        runs = {claim.run_id.hex, *(run_hex for (run_hex,) in run(connection, _LAST, tenant.tenant_id))}
        _end_older_sessions(connection, claim, runs)
        with connection.transaction():
            run(connection, f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'")
            if not run(connection, _RAISE, tenant.tenant_id, claim.fence, claim.run_id):
                raise StaleFence(tenant=str(tenant.tenant_id), fence=claim.fence)
            # One that connected between the two statements above can no longer pass, but it may hold a lock.
            _end_older_sessions(connection, claim, runs)
            yield connection


def _end_older_sessions(connection: Connection, claim: Claim, runs: set[str]) -> None:
    patterns = [f"{PREFIX}:{run_hex}:%" for run_hex in runs]
    older = [pid for pid, name in run(connection, _SESSIONS, patterns) if _fence_in(name) < claim.fence]
    if older:
        run(connection, _END, END_WITHIN_MS, older)


def _fence_in(name: str) -> int:
    """The fence in an application name; a name that only looks like ours counts as newest and is left alone."""
    fence = name.rpartition(":")[2]
    return int(fence) if fence.isdecimal() else 2**63
