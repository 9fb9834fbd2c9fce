"""The guard of pooled tables in a database: its SQL, its keys, and the doors of the tenants behind it.

`guard.sql` says what it does, and `keeping.py` how it remembers whom it let in. Its owner is a role that nobody logs in
as; the provisioning role, its one member, acts as it to install and to exchange keys, and may open and close doors by
itself.

# Note [Exchanging the keys]
A version of a database's key is derived from the context secret, never stored here. To exchange one: `add_version` n+1
in every database; sign with it; wait until credentials handed out before have run out and no transaction from before
is left; `keep_version` n+1 alone. Until then both are good; after that tickets of n are refused, and under a seal open
transactions too.
`context_keys` does this. A base backup holds the pads: exchange a restored database's keys before anybody connects.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from psycopg import sql

from provisioning.databases import ddl, keeping
from provisioning.databases.keeping import Keeps
from provisioning.databases.servers import Connection, run
from provisioning.databases.signing import Signing, of, signing
from provisioning.errors import Permanent
from tenants.context import TenantContext
from tenants.isolation.tickets import USE, ContextKey, mint
from tenants.models import Cluster

KEY_BYTES, BLOCK_BYTES = 32, 64  # SHA-256 and its block (RFC 2104)
INNER, OUTER = bytes(value ^ 0x36 for value in range(256)), bytes(value ^ 0x5C for value in range(256))

_INSTALL = sql.SQL(Path(__file__).with_name("guard.sql").read_text())
LETS_IN = f"{ddl.GUARD}.enter(%s, %s, %s, %s, %s, %s)"
ENTER = f"SELECT {LETS_IN}"
_OPEN = f"""
    INSERT INTO {ddl.GUARD}.placement (tenant, incarnation, open) VALUES (%s, %s, true)
    ON CONFLICT (tenant) DO UPDATE SET incarnation = excluded.incarnation, open = true
"""
_CLOSE = f"UPDATE {ddl.GUARD}.placement SET open = false WHERE tenant = %s AND incarnation = %s"
_FORGET = f"DELETE FROM {ddl.GUARD}.placement WHERE tenant = %s AND incarnation = %s"
_ADD = f"""
    INSERT INTO {ddl.GUARD}.context_key (version, ipad, opad) VALUES (%s, %s, %s)
    ON CONFLICT (version) DO UPDATE SET ipad = excluded.ipad, opad = excluded.opad
    WHERE NOT EXISTS (SELECT FROM {ddl.GUARD}.placement)
"""
_AGREES = f"SELECT (ipad, opad) = (%s, %s) FROM {ddl.GUARD}.context_key WHERE version = %s"
_VERSIONS = f"SELECT version FROM {ddl.GUARD}.context_key ORDER BY version::int"
_KEEP = f"DELETE FROM {ddl.GUARD}.context_key WHERE version <> %s"


class SignedOtherwise(Permanent):
    """Tenants live in this database's pools, and their tickets are signed with another key."""

    code = "CLUSTER_SIGNED_OTHERWISE"
    cure = (
        "A database is one cluster's: use the name it was registered under, and the TENURE_CONTEXT_SECRET its pools"
        " were made with. To exchange the secret, see `manage.py rotate_context_key --help`."
    )


def install(connection: Connection, *, cluster: Cluster, database: str, keeps: Keeps | None = None) -> None:
    """Guard and current key as they should be, whatever was there. `connection` is one to `database`.

    `keeps`: None is the best that this server allows. Part of the caller's transaction; callers take turns, since roles
    belong to the whole server. Raises SignedOtherwise.
    """
    run(connection, "SELECT pg_advisory_xact_lock(hashtextextended('tenure: the guard', 0))")
    if not run(connection, "SELECT 1 FROM pg_roles WHERE rolname = %s", ddl.GUARD):
        run(connection, sql.SQL("CREATE ROLE {} NOLOGIN").format(_guard()))
    run(connection, sql.SQL("GRANT {} TO CURRENT_USER WITH INHERIT FALSE, SET TRUE").format(_guard()))
    run(connection, sql.SQL("CREATE SCHEMA IF NOT EXISTS {0} AUTHORIZATION {0}").format(_guard()))
    keeps = keeps or best(connection)
    if keeps is Keeps.PARAMETER:
        run(connection, keeping.give_to_guard())
    with _as_guard(connection):
        texts = [keeps.text(), _INSTALL, _close_functions(), _grant_doors(), _grant_use(ddl.OWNER)]
        run(connection, sql.SQL("; ").join(texts))
    add_version(connection, cluster=cluster, database=database, signs=of(cluster))


def best(connection: Connection) -> Keeps:
    """How the guard can keep a context on this server, with the rights that we have there."""
    ((lent,),) = run(connection, keeping.MAY_SET, keeping.PARAMETER)
    return Keeps.PARAMETER if lent else Keeps.SEAL


def admit(connection: Connection, group: str) -> None:
    """Let the members of a role ask to be let in: a pool's group. Safe to run again."""
    with _as_guard(connection):
        run(connection, _grant_use(group))


def add_version(connection: Connection, *, cluster: Cluster, database: str, signs: Signing) -> None:
    """From the commit on, tickets and seals of this version are good too. See Note [Exchanging the keys].

    A key that tenants' tickets are signed with is never replaced: raises SignedOtherwise.
    """
    inner, outer = pads(database_key(cluster.name, database, signs))
    with _as_guard(connection):
        if run(connection, _AGREES, inner, outer, signs.version) == [(True,)]:
            return  # else we would wait for whoever is placing a tenant, for nothing
        run(connection, _ADD, signs.version, inner, outer)
        if run(connection, _AGREES, inner, outer, signs.version) != [(True,)]:
            raise SignedOtherwise(f"The pools in {database} are not signed as those of {cluster.name}.")


def keep_version(connection: Connection, *, version: str) -> None:
    """From the commit on, tickets and open transactions of every other version are refused."""
    with _as_guard(connection):
        run(connection, _KEEP, version)


def versions(connection: Connection) -> tuple[str, ...]:
    """Which versions are good in this database, the oldest first."""
    with _as_guard(connection):
        found = run(connection, _VERSIONS)
    return tuple(version for (version,) in found)


def context_key(tenant: TenantContext) -> ContextKey:
    """What an application signs this life's tickets with, in the tenant's database. About 10 µs, seldom a query."""
    signs = signing(tenant.cluster)
    inner, outer = pads(database_key(tenant.cluster, tenant.database, signs))
    whose = b"K" + tenant.tenant_id.bytes + tenant.incarnation.bytes
    return ContextKey(signs.version, sha256(outer + sha256(inner + whose).digest()).digest())


def open_door(connection: Connection, tenant: TenantContext) -> None:
    """From the commit on, this life of the tenant may enter, and no former one."""
    run(connection, _OPEN, tenant.tenant_id, tenant.incarnation)


def close_door(connection: Connection, tenant: TenantContext) -> None:
    """From the commit on, nobody enters as this life of the tenant; we do, to erase. Who is inside may finish."""
    run(connection, _CLOSE, tenant.tenant_id, tenant.incarnation)


def forget(connection: Connection, tenant: TenantContext) -> None:
    """The tenant has no place in this database any more."""
    run(connection, _FORGET, tenant.tenant_id, tenant.incarnation)


def enter(connection: Connection, tenant: TenantContext, purpose: str = USE) -> None:
    """Work as this tenant, as the owner of the tables, for the rest of the transaction, which the caller has opened.

    Raises psycopg.errors.InsufficientPrivilege when the door is not open, or for `erase` not closed.
    """
    run(connection, sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(ddl.OWNER)))
    run(connection, ENTER, *mint(tenant, context_key(tenant), purpose=purpose))


def database_key(cluster: str, database: str, signs: Signing) -> bytes:
    """32 bytes: HKDF-SHA256 (RFC 5869) of the context secret. Who reads one database's learns nothing of another's."""
    info = f"context|{cluster}|{database}|{signs.version}".encode()
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=info).derive(signs.secret)


def pads(key: bytes) -> tuple[bytes, bytes]:
    """The inner and the outer block of HMAC-SHA256 (RFC 2104 §2), 64 bytes each: PostgreSQL has no XOR of bytes."""
    block = key.ljust(BLOCK_BYTES, b"\0")
    return block.translate(INNER), block.translate(OUTER)


def _guard() -> sql.Identifier:
    return sql.Identifier(ddl.GUARD)


@contextmanager
def _as_guard(connection: Connection) -> Iterator[None]:
    """The guard's rights inside; an error takes them back with the rest of the transaction."""
    with connection.transaction():
        run(connection, sql.SQL("SET LOCAL ROLE {}").format(_guard()))
        yield
        run(connection, "RESET ROLE")


def _close_functions() -> sql.Composed:
    """PostgreSQL lets everybody execute a new function."""
    return sql.SQL("REVOKE ALL ON ALL FUNCTIONS IN SCHEMA {} FROM PUBLIC").format(_guard())


def _grant_use(role: str) -> sql.Composed:
    return sql.SQL(
        "GRANT USAGE ON SCHEMA {0} TO {1}; GRANT EXECUTE ON FUNCTION {0}.enter, {0}.tenant, {0}.no_context TO {1}"
    ).format(_guard(), sql.Identifier(role))


def _grant_doors() -> sql.Composed:
    return sql.SQL(
        "GRANT USAGE ON SCHEMA {0} TO SESSION_USER;"
        " GRANT SELECT, INSERT, UPDATE, DELETE ON {0}.placement TO SESSION_USER;"
        " GRANT SELECT (tenant) ON {0}.ticket_key TO SESSION_USER"
    ).format(_guard())
