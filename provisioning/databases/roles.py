"""A tenant's login role: it may log in, reach one schema of one database, and nothing else.

# Note [Roles of pools]
The tenants of a pool log in as its shared role, which is made with the pool: for them there is nothing to make, to
change or to remove here, and what differs from tenant to tenant is the key of its context. A plan may ask for a role
of the tenant's own all the same. It has the same rights, from the pool's group, and the guard lets it enter as its
tenant alone, whatever it can sign.
"""

import math
import secrets
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from provisioning.databases import ddl, guard, role_doors
from provisioning.databases.fencing import fenced
from provisioning.databases.pools import password_of, pool_of
from provisioning.databases.reach import changed_settings, finding, other_databases, other_schemas, too_mighty
from provisioning.databases.servers import (
    Connection,
    close_kept,
    connect,
    is_open,
    kept_session,
    run,
    server_errors,
    session,
    url_of,
)
from provisioning.engine.rows import answer
from provisioning.models import Claim, Handle, ResourceKind, Secret
from tenants.context import TenantContext
from tenants.errors import StateConflict
from tenants.findings import Finding, Severity
from tenants.isolation.tickets import mint
from tenants.models import Cluster, Plan
from tenants.placement import pool_group, pool_role
from tenants.states import Tier

PASSWORD_BYTES = 32
ERROR = Severity.ERROR
_PLANNED = """
SELECT p.own_role, p.connection_limit FROM tenants_plan p JOIN tenants_tenant t ON t.plan_id = p.id WHERE t.id = %s
"""
_ENTER = f"SELECT set_config('search_path', %s, true), {guard.LETS_IN}"
# Guard rails, not walls: a session may change them (isolation rests on grants alone).
SETTINGS = {
    "statement_timeout": "60s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "60s",
    "transaction_timeout": "60s",
}
# SUPERUSER and REPLICATION may not even be named by who lacks them; a new role has neither.
ATTRIBUTES = sql.SQL("LOGIN NOINHERIT NOCREATEDB NOCREATEROLE NOBYPASSRLS")


class RoleIsShared(StateConflict):
    """The tenant logs in as the role of its pool: a new password would be every other tenant's too."""

    cure = "Rotate the pool's password on the pool's page, or give the tenant a plan with a role of its own."


SOUND_FOR_S = 60.0
_sound: dict[str, float] = {}
"""When this process last found no fault with a role, by the monotonic clock."""


def look_again() -> None:
    """Whatever this process knows of roles is forgotten: the next look is a look."""
    _sound.clear()
    close_kept()


class LoginRole:
    """`t_<hex>`, with a password of its own, sealed and kept before the server learns it. See Note [Roles of pools]."""

    kind = ResourceKind.ROLE

    def plan(self, tenant: TenantContext) -> Handle:
        found = answer(_PLANNED, [tenant.tenant_id])
        if found is None:
            raise Plan.DoesNotExist
        has_its_own, connection_limit = found
        where = {"cluster": tenant.cluster, "database": tenant.database, "schema": tenant.schema}
        own = {"role": tenant.key, **where, "connection_limit": connection_limit}
        if tenant.pool_id is None:
            return own
        group = pool_group(tenant.pool_id)
        if has_its_own:
            return {**own, "group": group}
        return {"role": pool_role(tenant.pool_id), **where, "group": group, "shared": True}

    def provision(self, tenant: TenantContext, handle: Handle, *, claim: Claim) -> None:
        """Role, password and grants as they should be, whatever they were."""
        if is_shared(handle):
            return
        cluster = Cluster.objects.get(name=handle["cluster"])
        kept = Secret.objects.once(tenant.tenant_id, self.kind, make=_random_password)
        with fenced(tenant, claim, cluster) as connection:
            if not role_doors.exists(connection, handle["role"]):
                run(connection, sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(handle["role"])))
            run(connection, _as_it_should_be(connection, handle, kept.open()))
            if group := handle.get("group"):
                run(connection, ddl.join(group, handle["role"]))
                return
            if handle["database"] == cluster.database:
                run(connection, ddl.grant_schema(handle["schema"], handle["role"]))
            run(connection, ddl.ONE_GRANT_AT_A_TIME)
            run(connection, ddl.grant_connect(handle["database"], handle["role"]))
        if handle["database"] != cluster.database:
            # A transaction reaches one database: the role is committed there before it can be granted anything here.
            with fenced(tenant, claim, cluster, database=handle["database"]) as inside:
                run(inside, ddl.grant_schema(handle["schema"], handle["role"]))

    def rotate(self, tenant: TenantContext, handle: Handle, *, claim: Claim) -> None:
        """A new password: open sessions stay, new ones need it. A rerun after a crash makes yet another one.

        Raises RoleIsShared.
        """
        if is_shared(handle):
            raise RoleIsShared(f"{tenant.slug} logs in as {handle['role']}, which its pool shares.")
        Secret.objects.once(tenant.tenant_id, self.kind, make=_random_password).replace(_random_password())
        self.provision(tenant, handle, claim=claim)

    def password(self, tenant: TenantContext) -> str:
        """The current one. Raises Secret.DoesNotExist before the role is made, SealError if the key does not fit."""
        return Secret.objects.get(tenant_id=tenant.tenant_id, kind=self.kind).open()

    def login(self, tenant: TenantContext, handle: Handle | None = None) -> tuple[str, str]:
        """Role and password. Raises as `password` does."""
        handle = handle or self.plan(tenant)
        if is_shared(handle):
            return handle["role"], password_of(pool_of(tenant))
        return handle["role"], self.password(tenant)

    def verify(self, tenant: TenantContext, handle: Handle) -> Iterator[Finding]:
        """A pool's role is its tenants' in common: without fault it is looked at once a minute, the ticket always."""
        if is_shared(handle) and time.monotonic() - _sound.get(handle["role"], -math.inf) < SOUND_FOR_S:
            yield from self._logs_in(tenant, handle)
            return
        found = list(self._looked_at(tenant, handle))
        yield from found
        if not found:
            _sound[handle["role"]] = time.monotonic()

    def _looked_at(self, tenant: TenantContext, handle: Handle) -> Iterator[Finding]:
        cluster, role = Cluster.objects.get(name=handle["cluster"]), handle["role"]
        with session(cluster) as connection:
            if not role_doors.exists(connection, role):
                yield finding("ROLE_MISSING", role, "The tenant's role is not there.", severity=ERROR)
                return
            yield from too_mighty(connection, role, group=handle.get("group", ""))
            if wrong := changed_settings(connection, role, handle["database"], settings_of(handle["schema"])):
                says = f"These settings are not as they were made: {', '.join(wrong)}."
                yield finding("ROLE_SETTINGS_CHANGED", role, says, severity=ERROR, hint=_cure(handle))
            yield from other_databases(connection, role, handle["database"])
            if handle["database"] == cluster.database:
                guards = (ddl.GUARD,) if "group" in handle else ()
                yield from other_schemas(connection, role, handle["schema"], *guards)
            elif not is_open(connection, handle["database"]):
                return  # the database's own provider tells of that
        if handle["database"] != cluster.database:
            with server_errors(cluster.name), connect(cluster, database=handle["database"]) as connection:
                yield from other_schemas(connection, role, handle["schema"])
        yield from self._logs_in(tenant, handle)

    def _logs_in(self, tenant: TenantContext, handle: Handle) -> Iterator[Finding]:
        role, hint = handle["role"], _cure(handle)
        try:
            with self._session(tenant, handle) as own:
                if tenant.tier == Tier.POOL:
                    enter(own, tenant)
        except psycopg.OperationalError as error:
            yield finding("ROLE_CANNOT_LOG_IN", role, " ".join(str(error).split()), severity=ERROR, hint=hint)
        except psycopg.errors.InsufficientPrivilege as error:
            yield finding("ROLE_CANNOT_ENTER", role, " ".join(str(error).split()), severity=ERROR)

    def _session(self, tenant: TenantContext, handle: Handle) -> AbstractContextManager[Connection]:
        """As the tenant's role. One of a pool's role is kept for a minute: see servers' Note [Sessions are kept]."""
        if not is_shared(handle):
            return log_in(tenant, *self.login(tenant, handle))
        pool = pool_of(tenant)
        return kept_session(_login(pool.cluster, tenant, handle["role"], password_of(pool)))

    def count(self, tenant: TenantContext, handle: Handle) -> int:  # noqa: ARG002  a role holds no rows
        return 0

    def erase(self, tenant: TenantContext, handle: Handle, *, limit: int) -> int:  # noqa: ARG002
        return 0

    def shut(self, tenant: TenantContext, handle: Handle, *, claim: Claim) -> None:
        if not is_shared(handle):
            role_doors.shut(tenant, handle, claim=claim)

    def open(self, tenant: TenantContext, handle: Handle, *, claim: Claim) -> None:
        if not is_shared(handle):
            role_doors.open_again(tenant, handle, claim=claim)

    def ajar(self, tenant: TenantContext, handle: Handle) -> Iterator[Finding]:  # noqa: ARG002
        if not is_shared(handle):
            yield from role_doors.ajar(handle)

    def deprovision(self, tenant: TenantContext, handle: Handle, *, claim: Claim) -> None:
        """Nobody can log in, sessions are ended, grants are gone, the role is gone, and so is its password."""
        if is_shared(handle):
            return
        cluster, role = Cluster.objects.get(name=handle["cluster"]), handle["role"]
        with fenced(tenant, claim, cluster) as connection:
            there = role_doors.exists(connection, role)
            apart = handle["database"] != cluster.database and is_open(connection, handle["database"])
            if there:
                run(connection, sql.SQL("ALTER ROLE {} NOLOGIN").format(sql.Identifier(role)))
        if there and apart:  # DROP OWNED reaches the grants of one database
            with fenced(tenant, claim, cluster, database=handle["database"]) as inside:
                run(inside, ddl.disown(role))
        if there:
            with fenced(tenant, claim, cluster) as connection:
                run(connection, role_doors.END_SESSIONS, role)
                run(connection, ddl.ONE_GRANT_AT_A_TIME)
                run(connection, ddl.disown(role))
                run(connection, sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
        Secret.objects.filter(tenant_id=tenant.tenant_id, kind=self.kind).delete()


def is_shared(handle: Handle) -> bool:
    """Whether it is the role of a whole pool."""
    return bool(handle.get("shared"))


def enter(connection: Connection, tenant: TenantContext) -> None:
    """Work as this tenant of a pool until the transaction ends, with a ticket as its application would mint one.

    Raises psycopg.errors.InsufficientPrivilege when the guard refuses.
    """
    run(connection, _ENTER, tenant.schema, *mint(tenant, guard.context_key(tenant)))


def log_in(tenant: TenantContext, role: str, password: str) -> Connection:
    """A connection as the tenant's role, with what the role itself brings and nothing of ours.

    Raises psycopg.OperationalError when the server does not let it in.
    """
    return psycopg.connect(_login(Cluster.objects.get(name=tenant.cluster), tenant, role, password))


def _login(cluster: Cluster, tenant: TenantContext, role: str, password: str) -> str:
    return make_conninfo(
        url_of(cluster),
        user=role,
        password=password,
        dbname=tenant.database,
        options="",
        connect_timeout=5,
        application_name="tenure",
    )


def set_anew(role: str, database: str, *, schema: str) -> sql.Composed:
    """Its settings as they should be: a role may change its own, for everywhere or for one database."""
    named = sql.Identifier(role)
    return sql.SQL("; ").join(
        [
            sql.SQL("ALTER ROLE {} IN DATABASE {} RESET ALL").format(named, sql.Identifier(database)),
            sql.SQL("ALTER ROLE {} RESET ALL").format(named),
            *(
                sql.SQL("ALTER ROLE {} SET {} = {}").format(named, sql.Identifier(name), sql.Literal(value))
                for name, value in settings_of(schema).items()
            ),
        ]
    )


def settings_of(schema: str) -> dict[str, str]:
    """What a login role brings to each session."""
    return {**SETTINGS, "search_path": schema}


def _cure(handle: Handle) -> str:
    """What a role changed itself, settings or password, is put back by a rotation."""
    where = "the pool's password on the pool's page" if is_shared(handle) else "the tenant's credentials"
    return f"Find out who changed it. Rotate {where}: that puts settings and password right."


def _as_it_should_be(connection: Connection, handle: Handle, password: str) -> sql.Composed:
    """Every attribute, the password and the settings, in one round trip; what the role changed itself is put back."""
    role = sql.Identifier(handle["role"])
    # The verifier, not the password, goes over the wire: no log and no activity view can show it.
    verifier = connection.pgconn.encrypt_password(password.encode(), handle["role"].encode(), b"scram-sha-256")
    return sql.SQL("; ").join(
        [
            sql.SQL("ALTER ROLE {} {} CONNECTION LIMIT {} PASSWORD {}").format(
                role, ATTRIBUTES, sql.Literal(handle["connection_limit"]), sql.Literal(verifier.decode())
            ),
            set_anew(handle["role"], handle["database"], schema=handle["schema"]),
        ]
    )


def _random_password() -> str:
    return secrets.token_urlsafe(PASSWORD_BYTES)
