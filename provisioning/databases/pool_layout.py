"""Lay a pool out on its cluster: roles, the release's pooled tables, and grants for what the catalog check passed.

# Note [A pool is there whole, or not there]
Roles, tables, the rows that its tenants share, positions of sequences, check and grants are one transaction under a
lock: whoever finds the pool's group with a right on the schema finds all of it. A killed layout leaves nothing, two at
once make one, and `ready_at` only spares the question.
"""

from django.db import transaction
from django.db.models.functions import Now
from psycopg import sql

from provisioning.databases import ddl, guard, pooling
from provisioning.databases.dump import POSITION
from provisioning.databases.fingerprint import difference, fingerprint, shape
from provisioning.databases.pools import new_password, password_of
from provisioning.databases.releases import release_named
from provisioning.databases.replay import checked, inserts
from provisioning.databases.roles import set_anew
from provisioning.databases.servers import Connection, connect, run, server_errors
from provisioning.errors import Permanent, Transient
from provisioning.models import Release
from tenants.actions import Actor, AuditAction, ObjectType
from tenants.audit import write as audit
from tenants.context import TenantContext
from tenants.errors import StateConflict
from tenants.findings import Severity
from tenants.models import Pool
from tenants.placement import pool_group, pool_role
from tenants.states import Tier

_OURS = """
    SELECT pg_get_userbyid(nspowner)::text, CASE WHEN to_regrole(%s) IS NULL THEN false
        ELSE has_schema_privilege(to_regrole(%s), oid, 'USAGE') END
    FROM pg_namespace WHERE nspname = %s
"""


class PoolNameInUse(Permanent):
    """Something that is not this pool has the name of its schema."""

    code = "POOL_NAME_IN_USE"
    cure = "Find out who made it. If it is of a former control plane and empty, drop it; else close this pool."


class PoolUnsafe(Permanent):
    """The catalog check found fault with the tables of a new pool. Nothing of it was kept."""

    code = "POOL_UNSAFE"
    cure = "Report it with the message: a release that fails here should have been refused when it was published."


def ensure(pool: Pool) -> None:
    """The pool stands on its cluster. Raises PoolNameInUse, PoolUnsafe, NoRelease, or a server's error."""
    if pool.ready_at is None:
        lay_out(pool)


def lay_out(pool: Pool) -> None:
    """Make the pool, or agree with the one that is there. Safe to run again, side by side, and after a kill."""
    release = release_named(pool.release)
    cluster = pool.cluster
    with server_errors(cluster.name), connect(cluster) as connection:
        with connection.transaction():
            run(connection, "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", f"tenure: {pool.schema}")
            if not is_there(connection, pool):
                _make_roles(connection, pool)
                make_tables(connection, pool, release)
                _check_and_grant(connection, pool, release)
        run(connection, sql.SQL("ANALYZE {}").format(_all_of(connection, pool.schema)))
    Pool.objects.filter(pk=pool.pk).update(ready_at=Now())


def is_there(connection: Connection, pool: Pool) -> bool:
    """Raises PoolNameInUse when the schema is somebody else's."""
    group = pool_group(pool.pk)
    found = run(connection, _OURS, group, group, pool.schema)
    if found and found[0] != (ddl.OWNER, True):
        raise PoolNameInUse(f"The schema {pool.schema} is there, belongs to {found[0][0]}, and is not this pool's.")
    return bool(found)


def rotate_password(pool: Pool, actor: Actor) -> None:
    """A new password for the role that the pool's tenants share, and its settings as they were: a role may change both
    itself. Open sessions stay, new ones need it.

    The row has it before the server learns it, and has the old one again if the server did not: killed in between,
    it is rotated once more. Raises StateConflict if somebody was first, ServerUnavailable, ServerRefused.
    """
    former = bytes(pool.sealed_password)
    pool.sealed_password = new_password(pool)
    if not Pool.objects.filter(pk=pool.pk, sealed_password=former).update(sealed_password=pool.sealed_password):
        raise StateConflict(f"The password of {pool} was rotated at the same moment.", cure="Read it again.")
    try:
        with server_errors(pool.cluster.name), connect(pool.cluster) as connection:
            run(connection, _password(connection, pool))
            run(connection, set_anew(pool_role(pool.pk), pool.cluster.database, schema=pool.schema))
    except (Transient, Permanent):
        Pool.objects.filter(pk=pool.pk, sealed_password=pool.sealed_password).update(sealed_password=former)
        raise
    with transaction.atomic():
        audit(AuditAction.CREDENTIALS_ROTATED, actor=actor, object=(ObjectType.POOL, pool.pk))


def _make_roles(connection: Connection, pool: Pool) -> None:
    """The group has the grants; the login role is a member that may not become it. See `ddl.join`."""
    group, role = pool_group(pool.pk), pool_role(pool.pk)
    for name in (group, role):
        if not run(connection, "SELECT 1 FROM pg_roles WHERE rolname = %s", name):
            run(connection, sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(name)))
    named = sql.Identifier(role)
    run(connection, sql.SQL("ALTER ROLE {} LOGIN NOINHERIT NOCREATEDB NOCREATEROLE NOBYPASSRLS").format(named))
    run(connection, _password(connection, pool))
    run(connection, set_anew(role, pool.cluster.database, schema=pool.schema))
    run(connection, ddl.join(group, role))


def _password(connection: Connection, pool: Pool) -> sql.Composed:
    """The verifier, not the password, goes over the wire: no log and no activity view can show it."""
    role = pool_role(pool.pk)
    verifier = connection.pgconn.encrypt_password(password_of(pool).encode(), role.encode(), b"scram-sha-256")
    return sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(verifier.decode()))


def make_tables(connection: Connection, pool: Pool, release: Release) -> None:
    """As the owner: tables, rows of tables that tenants share, and sequences past the ids that seed rows have.

    A pool's sequences are shared, and rise alone: seed rows carry the same ids for each tenant.
    """
    schema = checked(pool.schema)
    shared = [table for table in release.seed if table["table"] in pooling.SHARED_TABLES]
    positions = [line for line in release.finish.splitlines() if line.startswith(POSITION)]
    rows = [statement for table in shared for statement in inserts(table, release.placeholder)]
    text = "\n".join((f"{release.pool_script};", *rows, *positions))
    nobody = _nobody(pool)
    guard.open_door(connection, nobody)
    guard.enter(connection, nobody)
    run(connection, ddl.become_owner())
    run(connection, text.replace(release.placeholder, schema))  # see replay's Note [Text is replaced in the script …]
    run(connection, "RESET ROLE; SET LOCAL search_path = pg_catalog")
    guard.forget(connection, nobody)


def _nobody(pool: Pool) -> TenantContext:
    """A tenant without rows, which lives for the layout alone.

    A new foreign key looks at the rows there are, as the owner, whom forced row security refuses without a context.
    """
    where = {"cluster": pool.cluster.name, "database": pool.cluster.database, "schema": pool.schema}
    return TenantContext(
        tenant_id=pool.pk, incarnation=pool.pk, slug="nobody", tier=Tier.POOL, pool_id=pool.pk, **where
    )


def _check_and_grant(connection: Connection, pool: Pool, release: Release) -> None:
    group = pool_group(pool.pk)
    for finding in pooling.grant(connection, pool.schema, group):
        if finding.severity in {Severity.ERROR, Severity.CRITICAL}:
            raise PoolUnsafe(f"{finding.subject}: {finding.message}", finding=finding.code)
    if fingerprint(connection, pool.schema) != release.pool_fingerprint:
        lines = difference(release.pool_shape, shape(connection, pool.schema))
        raise PoolUnsafe(f"The tables are not those of release {release.name}: {'; '.join(lines[:5])}")
    guard.admit(connection, group)
    run(connection, ddl.ONE_GRANT_AT_A_TIME)
    run(connection, ddl.grant_connect(pool.cluster.database, group))


def _all_of(connection: Connection, schema: str) -> sql.Composed:
    query = "SELECT relname::text FROM pg_class WHERE relnamespace = %s::regnamespace AND relkind = 'r'"
    return sql.SQL(", ").join(sql.Identifier(schema, name) for (name,) in run(connection, query, schema))
