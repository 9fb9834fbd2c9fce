"""What makes a PostgreSQL server fit to hold tenants: the rights that are needed, and the things made there once."""

from collections.abc import Iterator

from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from provisioning.databases import ddl, guard, hidden, keeping
from provisioning.databases.erasing import resting
from provisioning.databases.keeping import Keeps
from provisioning.databases.servers import Connection, connect, open_url, run, server_errors
from provisioning.errors import Permanent
from tenants.findings import Finding, Severity
from tenants.models import Cluster

OLDEST_SERVER = (
    180_000  # server_version_num of PostgreSQL 18: roles may administer roles, fingerprints read its catalog
)
FEWEST_LOCKS = 256  # max_locks_per_transaction: removing one schema locks each of its tables and indexes at once


class ClusterUnfit(Permanent):
    """The server cannot hold tenants as it is."""

    code = "CLUSTER_UNFIT"


def check_cluster(url: str, *, subject: str = "cluster") -> list[Finding]:
    """Look whether the role in `url` can provision tenants there; what is wrong but not in the way comes back.

    Changes nothing. Raises ServerUnavailable when it cannot connect, ClusterUnfit naming everything in the way and the
    statements that cure it.
    """
    if not conninfo_to_dict(url).get("dbname"):
        raise ClusterUnfit(
            "The URL names no database.", cure="End it with the shared database's name: …/tenure_cluster."
        )
    with open_url(url, subject=subject) as connection, server_errors(subject):
        if troubles := list(_in_the_way(connection)):
            raise ClusterUnfit(
                f"{subject}: {'; '.join(trouble for trouble, _cure in troubles)}.",
                cure=" ".join(cure for _trouble, cure in troubles),
            )
        return list(_doubtful(connection))


def prepare_cluster(cluster: Cluster) -> None:
    """Make our roles, the shared database's own schema, and its guard. Safe to run again and side by side."""
    with server_errors(cluster.name), connect(cluster) as connection, connection.transaction():
        run(connection, "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", "tenure: preparing a cluster")
        _role(connection, ddl.OWNER, "NOLOGIN", "INHERIT TRUE, SET TRUE")
        _role(connection, ddl.VERIFIER, "NOLOGIN BYPASSRLS", "INHERIT FALSE, SET TRUE")
        ((database,),) = run(connection, "SELECT current_database()")
        run(connection, ddl.ONE_GRANT_AT_A_TIME)
        run(connection, ddl.close_database(database))
        run(connection, _allow_schemas(database))
        run(connection, ddl.prepare_database())
        guard.install(connection, cluster=cluster, database=database)


def _role(connection: Connection, name: str, attributes: str, membership: str) -> None:
    role = sql.Identifier(name)
    if not run(connection, "SELECT 1 FROM pg_roles WHERE rolname = %s", name):
        run(connection, sql.SQL("CREATE ROLE {} " + attributes).format(role))
    # A role with CREATEROLE may administer what it created, but neither act as it nor inherit from it until told so.
    run(connection, sql.SQL("GRANT {} TO CURRENT_USER WITH " + membership).format(role))


def _allow_schemas(database: str) -> sql.Composed:
    return sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(sql.Identifier(database), sql.Identifier(ddl.OWNER))


def _in_the_way(connection: Connection) -> Iterator[tuple[str, str]]:
    """What is missing, and the cure, each a sentence."""
    ((version, locks, role, database, is_super, creates_roles, creates_databases, bypasses, owns, signals),) = run(
        connection,
        """
        SELECT current_setting('server_version_num')::int, current_setting('max_locks_per_transaction')::int,
               current_user::text, current_database()::text,
               r.rolsuper, r.rolcreaterole, r.rolcreatedb, r.rolbypassrls,
               pg_has_role(current_user, d.datdba, 'USAGE'), pg_has_role(current_user, 'pg_signal_backend', 'USAGE')
        FROM pg_roles r, pg_database d WHERE r.rolname = current_user AND d.datname = current_database()
        """,
    )
    if version < OLDEST_SERVER:
        yield f"the server is PostgreSQL {version // 10_000}", "Upgrade it to PostgreSQL 18 or newer."
    if locks < FEWEST_LOCKS:
        yield f"max_locks_per_transaction is {locks}", f"Set it to {FEWEST_LOCKS} or more and restart the server."
    if is_super:
        return
    wanted = {"CREATEROLE": creates_roles, "CREATEDB": creates_databases, "BYPASSRLS": bypasses}
    if missing := [word for word, there in wanted.items() if not there]:
        yield f"the role {role} lacks {', '.join(missing)}", f"As a superuser: ALTER ROLE {role} {' '.join(missing)};"
    if not owns:
        yield f"the role {role} does not own {database}", f"As a superuser: ALTER DATABASE {database} OWNER TO {role};"
    if not signals:
        yield f"the role {role} may not end sessions", f"As a superuser: GRANT pg_signal_backend TO {role};"


def _doubtful(connection: Connection) -> Iterator[Finding]:
    """What lets a tenant's role reach further than its own data on this server."""
    for (database,) in run(
        connection,
        """
        SELECT datname::text FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba)))
        WHERE grantee = 0 AND datname <> current_database() AND datname <> 'template0' AND datallowconn
        GROUP BY datname ORDER BY datname
        """,
    ):
        yield Finding(
            code="DATABASE_OPEN_TO_ALL",
            severity=Severity.WARNING,
            subject=str(database),
            message="Every role of the server, each tenant's too, may connect to this database.",
            hint=f"As its owner: REVOKE ALL ON DATABASE {database} FROM PUBLIC;",
        )
    ((role,),) = run(connection, "SELECT current_user::text")
    if guard.best(connection) is Keeps.SEAL:
        yield Finding(
            code="CONTEXT_IS_SEALED",
            severity=Severity.WARNING,
            subject=str(role),
            message=f"The guard of pools may not set {keeping.PARAMETER}: each statement of a pool costs more.",
            hint=f"As a superuser, then register the cluster again: {keeping.lend(role).as_string()};",
        )
    if run(connection, resting.IS_LENT, resting.PARAMETER) != [(True,)]:
        yield Finding(
            code="CHECKS_CANNOT_REST",
            severity=Severity.INFO,
            subject=str(role),
            message=f"The role may not set {resting.PARAMETER}: erasing from a pool takes several times as long.",
            hint=f"As a superuser: {resting.lend(role).as_string()};",
        )
    if left_open := [str(name) for (name,) in run(connection, hidden.open_to_all())]:
        ((database,),) = run(connection, "SELECT current_database()::text")
        yield Finding(
            code="SESSIONS_OPEN_TO_ALL",
            severity=Severity.WARNING,
            subject=str(database),
            message=f"Tenants of a pool could see and end each other's sessions: PUBLIC has {', '.join(left_open)}.",
            hint=f"As a superuser, in {database}: {hidden.hide()}",
        )
