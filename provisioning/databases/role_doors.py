"""Whether a tenant's own login role lets anybody in. Its tables are another role's, which works on all the same."""

from collections.abc import Iterator

from psycopg import sql

from provisioning.databases.door import GRACE, wait_until_left
from provisioning.databases.fencing import fenced
from provisioning.databases.reach import finding
from provisioning.databases.servers import Connection, connect, is_open, run, server_errors, session
from provisioning.models import Claim, Handle
from tenants.context import TenantContext
from tenants.findings import Finding, Severity
from tenants.models import Cluster

END_SESSIONS = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = %s"
_AJAR = {
    "The role may log in.": "SELECT 1 FROM pg_roles WHERE rolname = %s AND rolcanlogin",
    "A session of the role is open.": "SELECT 1 FROM pg_stat_activity WHERE usename = %s",
}


def shut(tenant: TenantContext, handle: Handle, *, claim: Claim) -> None:
    """No new session, whatever its password; open ones have GRACE for their transactions, and end."""
    cluster, role = Cluster.objects.get(name=handle["cluster"]), handle["role"]
    with fenced(tenant, claim, cluster) as connection:
        if not exists(connection, role):
            return
        run(connection, sql.SQL("ALTER ROLE {} NOLOGIN").format(sql.Identifier(role)))
    with server_errors(cluster.name), connect(cluster, database=_reachable(cluster, handle)) as inside:
        wait_until_left(inside, [role], within=GRACE)
        run(inside, END_SESSIONS, role)


def open_again(tenant: TenantContext, handle: Handle, *, claim: Claim) -> None:
    """The password is the one it was. Connections are the application's to make anew."""
    with fenced(tenant, claim, Cluster.objects.get(name=handle["cluster"])) as connection:
        run(connection, sql.SQL("ALTER ROLE {} LOGIN").format(sql.Identifier(handle["role"])))


def ajar(handle: Handle) -> Iterator[Finding]:
    with session(Cluster.objects.get(name=handle["cluster"])) as connection:
        for what, query in _AJAR.items():
            if run(connection, query, handle["role"]):
                hint = "Shut the tenant again."
                yield finding("ROLE_AJAR", handle["role"], what, severity=Severity.ERROR, hint=hint)


def exists(connection: Connection, role: str) -> bool:
    return bool(run(connection, "SELECT 1 FROM pg_roles WHERE rolname = %s", role))


def _reachable(cluster: Cluster, handle: Handle) -> str:
    """The database that the role works in, or the shared one where that is gone."""
    if handle["database"] != cluster.database:
        with session(cluster) as connection:
            if not is_open(connection, handle["database"]):
                return cluster.database
    return str(handle["database"])
