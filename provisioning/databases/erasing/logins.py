"""A tenant's login role, whatever it holds in whichever database, and our own rows that name the tenant."""

import psycopg
from psycopg import sql

from provisioning.databases import ddl
from provisioning.databases.erasing.containers import let_nobody_in
from provisioning.databases.erasing.places import Lease, bounded
from provisioning.databases.servers import connect, run, server_errors, session
from provisioning.errors import Permanent
from tenants.models import Cluster

# Databases in which something depends on the role; a shared object (a database's grants) has 0, which is every one's.
_HOLDS = """
    SELECT DISTINCT d.datname::text, d.datallowconn FROM pg_shdepend s JOIN pg_roles r ON r.oid = s.refobjid
    JOIN pg_database d ON d.oid = s.dbid
    WHERE s.refclassid = 'pg_authid'::regclass AND r.rolname = %s
"""
_REPLAYS = f"DELETE FROM {ddl.HOUSE}.replay WHERE target = %s"


class RoleStillHolds(Permanent):
    """The tenant's role has something that we cannot take from it: in a closed database, or by another's grant."""

    code = "ROLE_STILL_HOLDS"
    cure = "Open that database (ALTER DATABASE … ALLOW_CONNECTIONS true) or REVOKE what is named; then try again."


def close(cluster: Cluster, role: str) -> None:
    """Nobody logs in as the role any more, and its sessions are ended."""
    with session(cluster) as connection:
        let_nobody_in(connection, role)


def remove(cluster: Cluster, role: str, *, lease: Lease) -> int:
    """The role is gone from the server, with all that it owned or was granted in any database; 1 if it was there."""
    with server_errors(cluster.name), connect(cluster) as shared:
        if not run(shared, "SELECT 1 FROM pg_roles WHERE rolname = %s", role):
            return 0
        let_nobody_in(shared, role)
        for database, is_open in run(shared, _HOLDS, role):
            if not is_open:
                raise RoleStillHolds(f"{role} has something in the database {database}, which is closed.")
            if database != cluster.database:
                lease()
                with connect(cluster, database=database) as inside, bounded(inside):
                    run(inside, ddl.disown(role))
        lease()
        with bounded(shared):
            run(shared, ddl.ONE_GRANT_AT_A_TIME)
            run(shared, ddl.disown(role))
            try:
                run(shared, sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
            except psycopg.errors.DependentObjectsStillExist as error:
                says = (error.diag.message_detail or "").replace("\n", "; ")
                raise RoleStillHolds(f"{role} still has: {says}") from error
    return 1


def forget_replays(cluster: Cluster, target: str) -> int:
    """The mark of a replay that never ended and names the tenant's schema; how many went."""
    with session(cluster) as connection:
        return connection.execute(_REPLAYS.encode(), (target,)).rowcount
