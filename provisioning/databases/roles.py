"""A tenant's login role: it may log in, reach one schema of one database, and nothing else."""

import secrets
from collections.abc import Iterator

import psycopg
from psycopg import sql

from provisioning.databases import ddl
from provisioning.databases.fencing import fenced
from provisioning.databases.reach import finding, other_databases, other_schemas, too_mighty
from provisioning.databases.servers import Connection, connect, is_open, run, server_errors, url_of
from provisioning.models import Claim, Handle, ResourceKind, Secret
from tenants.context import TenantContext
from tenants.findings import Finding, Severity
from tenants.models import Cluster, Tenant

PASSWORD_BYTES = 32
# Guard rails, not walls: a session may change them (isolation rests on grants alone).
SETTINGS = {
    "statement_timeout": "60s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "60s",
    "transaction_timeout": "60s",
}
# SUPERUSER and REPLICATION may not even be named by who lacks them; a new role has neither.
ATTRIBUTES = sql.SQL("LOGIN NOINHERIT NOCREATEDB NOCREATEROLE NOBYPASSRLS")

_END_SESSIONS = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = %s"


class LoginRole:
    """`t_<hex>`, with a password of its own, sealed and kept before the server learns it."""

    kind = ResourceKind.ROLE

    def plan(self, tenant: TenantContext) -> Handle:
        plan = Tenant.objects.select_related("plan").get(pk=tenant.tenant_id).plan
        return {
            "role": tenant.key,
            "cluster": tenant.cluster,
            "database": tenant.database,
            "schema": tenant.schema,
            "connection_limit": plan.connection_limit,
        }

    def provision(self, tenant: TenantContext, handle: Handle, *, claim: Claim) -> None:
        """Role, password and grants as they should be, whatever they were."""
        cluster = Cluster.objects.get(name=handle["cluster"])
        kept = Secret.objects.once(tenant.tenant_id, self.kind, make=_random_password)
        with fenced(tenant, claim, cluster) as connection:
            if not _exists(connection, handle["role"]):
                run(connection, sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(handle["role"])))
            run(connection, _as_it_should_be(connection, handle, kept.open()))
            if handle["database"] == cluster.database:
                run(connection, ddl.grant_schema(handle["schema"], handle["role"]))
            run(connection, ddl.ONE_GRANT_AT_A_TIME)
            run(connection, ddl.grant_connect(handle["database"], handle["role"]))
        if handle["database"] != cluster.database:
            # A transaction reaches one database: the role is committed there before it can be granted anything here.
            with fenced(tenant, claim, cluster, database=handle["database"]) as inside:
                run(inside, ddl.grant_schema(handle["schema"], handle["role"]))

    def rotate(self, tenant: TenantContext, handle: Handle, *, claim: Claim) -> None:
        """A new password: open sessions stay, new ones need it. A rerun after a crash makes yet another one."""
        Secret.objects.once(tenant.tenant_id, self.kind, make=_random_password).replace(_random_password())
        self.provision(tenant, handle, claim=claim)

    def password(self, tenant: TenantContext) -> str:
        """The current one. Raises Secret.DoesNotExist before the role is made, SealError if the key does not fit."""
        return Secret.objects.get(tenant_id=tenant.tenant_id, kind=self.kind).open()

    def verify(self, tenant: TenantContext, handle: Handle) -> Iterator[Finding]:
        cluster, role = Cluster.objects.get(name=handle["cluster"]), handle["role"]
        with server_errors(cluster.name), connect(cluster) as connection:
            if not _exists(connection, role):
                yield finding("ROLE_MISSING", role, "The tenant's role is not there.", severity=Severity.ERROR)
                return
            yield from too_mighty(connection, role)
            yield from other_databases(connection, role, handle["database"])
            if not is_open(connection, handle["database"]):
                return  # the database's own provider tells of that
        with server_errors(cluster.name), connect(cluster, database=handle["database"]) as connection:
            yield from other_schemas(connection, role, handle["schema"])
        yield from self._logs_in(tenant, handle)

    def _logs_in(self, tenant: TenantContext, handle: Handle) -> Iterator[Finding]:
        role = handle["role"]
        try:
            with log_in(tenant, self.password(tenant)) as session:
                ((path,),) = run(session, "SELECT current_setting('search_path')")
        except psycopg.OperationalError as error:
            yield finding("ROLE_CANNOT_LOG_IN", role, " ".join(str(error).split()), severity=Severity.ERROR)
            return
        if path != handle["schema"]:
            yield finding("ROLE_SETTINGS_CHANGED", role, f"Its search path is {path}.", severity=Severity.ERROR)

    def count(self, tenant: TenantContext, handle: Handle) -> int:  # noqa: ARG002  a role holds no rows
        return 0

    def erase(self, tenant: TenantContext, handle: Handle, *, limit: int) -> int:  # noqa: ARG002
        return 0

    def deprovision(self, tenant: TenantContext, handle: Handle, *, claim: Claim) -> None:
        """Nobody can log in, sessions are ended, grants are gone, the role is gone, and so is its password."""
        cluster, role = Cluster.objects.get(name=handle["cluster"]), handle["role"]
        with fenced(tenant, claim, cluster) as connection:
            there = _exists(connection, role)
            apart = handle["database"] != cluster.database and is_open(connection, handle["database"])
            if there:
                run(connection, sql.SQL("ALTER ROLE {} NOLOGIN").format(sql.Identifier(role)))
        if there and apart:  # DROP OWNED reaches the grants of one database
            with fenced(tenant, claim, cluster, database=handle["database"]) as inside:
                run(inside, ddl.disown(role))
        if there:
            with fenced(tenant, claim, cluster) as connection:
                run(connection, _END_SESSIONS, role)
                run(connection, ddl.ONE_GRANT_AT_A_TIME)
                run(connection, ddl.disown(role))
                run(connection, sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
        Secret.objects.filter(tenant_id=tenant.tenant_id, kind=self.kind).delete()


def log_in(tenant: TenantContext, password: str) -> Connection:
    """A connection as the tenant's role, with what the role itself brings and nothing of ours.

    Raises psycopg.OperationalError when the server does not let it in.
    """
    return psycopg.connect(
        url_of(Cluster.objects.get(name=tenant.cluster)),
        user=tenant.key,
        password=password,
        dbname=tenant.database,
        options="",
        connect_timeout=5,
        application_name="tenure",
    )


def _as_it_should_be(connection: Connection, handle: Handle, password: str) -> sql.Composed:
    """Every attribute, the password and the settings, in one round trip; what the role changed itself is put back."""
    role = sql.Identifier(handle["role"])
    # The verifier, not the password, goes over the wire: no log and no activity view can show it.
    verifier = connection.pgconn.encrypt_password(password.encode(), handle["role"].encode(), b"scram-sha-256")
    settings = {**SETTINGS, "search_path": handle["schema"]}
    return sql.SQL("; ").join(
        [
            sql.SQL("ALTER ROLE {} {} CONNECTION LIMIT {} PASSWORD {}").format(
                role, ATTRIBUTES, sql.Literal(handle["connection_limit"]), sql.Literal(verifier.decode())
            ),
            sql.SQL("ALTER ROLE {} RESET ALL").format(role),
            *(
                sql.SQL("ALTER ROLE {} SET {} = {}").format(role, sql.Identifier(name), sql.Literal(value))
                for name, value in settings.items()
            ),
        ]
    )


def _random_password() -> str:
    return secrets.token_urlsafe(PASSWORD_BYTES)


def _exists(connection: Connection, role: str) -> bool:
    return bool(run(connection, "SELECT 1 FROM pg_roles WHERE rolname = %s", role))
