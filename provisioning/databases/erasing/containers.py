"""A schema or a database that is one tenant's alone, dropped whole; how many rows went with it is counted on the way.

# Note [A schema goes in batches]
DROP SCHEMA … CASCADE locks every table, index and sequence at once: 1,200 tables ran out of shared memory and dropped
nothing (tried, small lock table). So tables go twenty at a time, each batch a transaction, and the schema last.
CASCADE would also drop what others have built on these tables (a view in another schema, a foreign key): whoever
depends from outside is named, and nothing is dropped until that is gone.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql

from provisioning.databases import ddl
from provisioning.databases.erasing.places import Lease, Place, bounded
from provisioning.databases.servers import HALF_DROPPED, Connection, connect, run, server_errors, session
from provisioning.errors import Permanent

AT_ONCE = 20  # tables
END_WITHIN_MS = 5_000  # how long the server may take to end a session that was told to

_TABLES = """
    SELECT relname::text, relkind FROM pg_class WHERE relnamespace = to_regnamespace(%s)
    AND relkind IN ('r', 'p', 'm', 'f') AND NOT relispartition ORDER BY relkind = 'm' DESC, 1 LIMIT %s
"""
_OWNER = "SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = %s"
# Rules of views, constraints and defaults outside, on relations, types and functions inside.
OUTSIDE = """
    SELECT DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid) FROM pg_depend d
    JOIN (SELECT 'pg_class'::regclass AS class, oid FROM pg_class WHERE relnamespace = to_regnamespace(%(schema)s)
          UNION ALL SELECT 'pg_type'::regclass, oid FROM pg_type WHERE typnamespace = to_regnamespace(%(schema)s)
          UNION ALL SELECT 'pg_proc'::regclass, oid FROM pg_proc WHERE pronamespace = to_regnamespace(%(schema)s)
         ) AS ours (class, oid) ON d.refclassid = ours.class AND d.refobjid = ours.oid
    WHERE d.deptype IN ('n', 'a') AND coalesce(
        (SELECT relnamespace FROM pg_class c WHERE d.classid = 'pg_class'::regclass AND c.oid = d.objid),
        (SELECT c.relnamespace FROM pg_rewrite w JOIN pg_class c ON c.oid = w.ev_class
         WHERE d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid),
        (SELECT connamespace FROM pg_constraint k WHERE d.classid = 'pg_constraint'::regclass AND k.oid = d.objid),
        (SELECT pronamespace FROM pg_proc p WHERE d.classid = 'pg_proc'::regclass AND p.oid = d.objid),
        (SELECT typnamespace FROM pg_type t WHERE d.classid = 'pg_type'::regclass AND t.oid = d.objid),
        (SELECT c.relnamespace FROM pg_attrdef a JOIN pg_class c ON c.oid = a.adrelid
         WHERE d.classid = 'pg_attrdef'::regclass AND a.oid = d.objid),
        (SELECT c.relnamespace FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid
         WHERE d.classid = 'pg_trigger'::regclass AND g.oid = d.objid),
        (SELECT c.relnamespace FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
         WHERE d.classid = 'pg_policy'::regclass AND p.oid = d.objid),
        0::oid) NOT IN (0::oid, to_regnamespace(%(schema)s))
    ORDER BY 1
"""
_SLOTS = "SELECT slot_name::text, active_pid FROM pg_replication_slots WHERE database = %s"
_PREPARED = "SELECT gid, owner::text FROM pg_prepared_xacts WHERE database = %s"
_SUBSCRIPTIONS = """
    SELECT s.subname::text FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
    WHERE d.datname = current_database()
"""
_LARGE_OBJECTS = """
    SELECT m.oid::bigint FROM pg_largeobject_metadata m JOIN pg_roles r ON r.oid = m.lomowner WHERE r.rolname = %s
"""
_END_SESSIONS = """
    SELECT pg_terminate_backend(pid, %s) FROM pg_stat_activity WHERE usename = %s AND pid <> pg_backend_pid()
"""


class DependedOn(Permanent):
    """Something outside a tenant's schema depends on what is in it, and would be dropped with it unasked."""

    code = "DEPENDED_ON_FROM_OUTSIDE"
    cure = "Drop what is named, or take it off the tenant's tables; then try again."


class DatabaseHeld(Permanent):
    """A slot, subscription or prepared transaction keeps the database from being dropped, and is not ours to remove."""

    code = "DATABASE_HELD"
    cure = (
        "As a superuser: SELECT pg_drop_replication_slot(…), ROLLBACK PREPARED …, or in the database ALTER"
        " SUBSCRIPTION … DISABLE, SET (slot_name = NONE) and DROP it; then try again."
    )


class NotOurs(Permanent):
    """The schema has the name of a tenant's, and another owner than tenants' things have."""

    code = "NAME_IN_USE"
    cure = "Find out who made it, and remove it or give it another name."


@dataclass(slots=True)
class Dropped:
    """`rows` of its tables, and 1 for the schema or database itself when that went."""

    rows: int = 0
    itself: int = 0
    done: bool = False

    @property
    def items(self) -> int:
        return self.rows + self.itself


def let_nobody_in(connection: Connection, role: str) -> None:
    """The role cannot log in any more, and its sessions are ended: one that is open would go on."""
    if run(connection, "SELECT 1 FROM pg_roles WHERE rolname = %s", role):
        run(connection, sql.SQL("ALTER ROLE {} NOLOGIN").format(sql.Identifier(role)))
        run(connection, _END_SESSIONS, END_WITHIN_MS, role)


def drop_schema(place: Place, *, lease: Lease, until: float) -> Dropped:
    """Twenty tables at a time until `until` (monotonic seconds). Raises DependedOn, NotOurs."""
    dropped = Dropped()
    with session(place.cluster) as connection:
        let_nobody_in(connection, place.context.key)
        while not dropped.done:
            lease()
            with bounded(connection, statement="600s"):
                owner = run(connection, _OWNER, place.schema)
                if not owner:
                    dropped.done = True
                    return dropped
                if owner[0][0] != ddl.OWNER:
                    raise NotOurs(f"The schema {place.schema} belongs to {owner[0][0]}.")
                _refuse_if_depended_on(connection, place.schema)
                tables = run(connection, _TABLES, place.schema, AT_ONCE)
                _become_owner(connection)
                dropped.rows += _counted(connection, place.schema, tables)
                if tables:
                    _drop_tables(connection, place.schema, tables)
                else:
                    run(connection, ddl.drop_schema(place.schema))
                    dropped.itself, dropped.done = 1, True
                run(connection, "RESET ROLE")
                if dropped.done:
                    dropped.rows += _unlinked(connection, place.context.key)
            if time.monotonic() >= until:
                return dropped
    return dropped


def drop_database(place: Place, *, lease: Lease) -> Dropped:
    """Sessions, prepared transactions, subscriptions and slots first: each would make the server refuse.

    Raises DatabaseHeld where one of them is not ours to remove.
    """
    name, dropped = place.database, Dropped(done=True)
    with server_errors(place.cluster.name), connect(place.cluster) as shared:
        found = run(shared, "SELECT datconnlimit, datallowconn FROM pg_database WHERE datname = %s", name)
        if not found:
            return dropped
        let_nobody_in(shared, place.context.key)
        lease()
        if found[0][0] != HALF_DROPPED:
            if not found[0][1]:  # an earlier try closed it, and was killed before the drop
                run(shared, sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(name)))
            with connect(place.cluster, database=name) as inside:
                dropped.rows = _emptied(inside, place.schema, name)
            for slot, pid in run(shared, _SLOTS, name):
                _drop_slot(shared, slot, pid)
            run(shared, sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name)))
        lease()
        run(shared, ddl.drop_database(name))
        dropped.itself = 1
    return dropped


def _drop_slot(connection: Connection, slot: str, pid: int | None) -> None:
    """Who reads from it is ended."""
    with _held_by(f"replication slot {slot}"):
        if pid is not None:
            run(connection, "SELECT pg_terminate_backend(%s, %s)", pid, END_WITHIN_MS)
        run(connection, "SELECT pg_drop_replication_slot(%s)", slot)


@contextmanager
def _held_by(what: str) -> Iterator[None]:
    """Raises DatabaseHeld where our role may not remove it."""
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as error:
        raise DatabaseHeld(f"The {what} holds on to the database.") from error


def _emptied(inside: Connection, schema: str, database: str) -> int:
    """What would stand in the way is gone from inside; how many rows the tenant's schema has."""
    for gid, owner in run(inside, _PREPARED, database):
        with _held_by(f"prepared transaction {gid}"):
            _as_role(inside, owner, sql.SQL("ROLLBACK PREPARED {}").format(sql.Literal(gid)))
    for (name,) in run(inside, _SUBSCRIPTIONS):
        word = sql.Identifier(name)
        with _held_by(f"subscription {name}"):
            run(inside, sql.SQL("ALTER SUBSCRIPTION {} DISABLE").format(word))
            run(inside, sql.SQL("ALTER SUBSCRIPTION {} SET (slot_name = NONE)").format(word))
            run(inside, sql.SQL("DROP SUBSCRIPTION {}").format(word))
    with bounded(inside, statement="600s"):
        tables = run(inside, _TABLES, schema, 1_000_000)
        _become_owner(inside)
        return _counted(inside, schema, tables)


def _as_role(connection: Connection, role: str, statement: sql.Composed) -> None:
    """Only who prepared a transaction may end it, or a superuser. The role's maker may grant it to itself."""
    word = sql.Identifier(role)
    try:
        run(connection, statement)
    except psycopg.errors.InsufficientPrivilege:
        run(connection, sql.SQL("GRANT {} TO CURRENT_USER WITH SET TRUE").format(word))
        run(connection, sql.SQL("SET ROLE {}").format(word))
        run(connection, statement)
        run(connection, "RESET ROLE")


def _unlinked(connection: Connection, role: str) -> int:
    """Large objects are in no schema, and outlive each: only who owns one may remove it."""
    if found := run(connection, _LARGE_OBJECTS, role):
        run(connection, sql.SQL("GRANT {} TO CURRENT_USER WITH INHERIT TRUE").format(sql.Identifier(role)))
        run(connection, "SELECT lo_unlink(oid) FROM unnest(%s::oid[]) AS oid", [oid for (oid,) in found])
    return len(found)


def _refuse_if_depended_on(connection: Connection, schema: str) -> None:
    outside = [str(what) for (what,) in connection.execute(OUTSIDE, {"schema": schema}).fetchall()]
    if outside:
        raise DependedOn(f"On {schema} depend from outside: {', '.join(outside[:5])}.", dependants=len(outside))


def _become_owner(connection: Connection) -> None:
    run(connection, sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(ddl.OWNER)))


def _counted(connection: Connection, schema: str, tables: Sequence[tuple[str, str]]) -> int:
    ours = [name for name, kind in tables if kind in {"r", "p"}]
    if not ours:
        return 0
    each = [sql.SQL("SELECT count(*) AS n FROM {}").format(sql.Identifier(schema, name)) for name in ours]
    ((number,),) = run(
        connection, sql.SQL("SELECT sum(n) FROM ({}) AS counts").format(sql.SQL(" UNION ALL ").join(each))
    )
    return int(number)


def _drop_tables(connection: Connection, schema: str, tables: Sequence[tuple[str, str]]) -> None:
    words = {"m": "MATERIALIZED VIEW", "f": "FOREIGN TABLE", "r": "TABLE", "p": "TABLE"}
    for word in dict.fromkeys(words.values()):
        if names := [sql.Identifier(schema, name) for name, kind in tables if words[kind] == word]:
            listed = sql.SQL(", ").join(names)
            run(connection, sql.SQL("DROP " + word + " IF EXISTS {} CASCADE").format(listed))
