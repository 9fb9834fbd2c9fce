"""Copies of tenants, rows and all, to try something on: beside the real ones, reached by nobody, and gone afterwards.

# Note [Whose copies are dead]
A copy is called `rehearsal_<hex of an id>_<number>`. Whoever makes copies under an id holds an advisory lock on it in
the cluster's shared database, and drops them before letting go. A session that ends loses its locks, however it ends:
so the copies of an id that nobody has locked belong to a process that was killed, and whoever comes by drops them. An
id is used once; a free lock stays free.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from uuid import UUID, uuid4

from psycopg import sql

from provisioning.databases import ddl, guard, pool_layout, pool_rows, space
from provisioning.databases.dump import POSITION
from provisioning.databases.layout import create_like_shared, sole
from provisioning.databases.replay import checked
from provisioning.databases.replaying import Target
from provisioning.databases.replaying.stages import admitted
from provisioning.databases.servers import Connection, connect, run, server_errors
from provisioning.databases.watching import report_now
from provisioning.errors import Transient
from provisioning.models import Release
from tenants.context import TenantContext
from tenants.models import Cluster, Pool
from tenants.states import Tier

_NAMED = re.compile(r"rehearsal_([0-9a-f]{32})_[0-9]+")
_THERE = r"""
    SELECT nspname::text FROM pg_namespace WHERE nspname LIKE 'rehearsal\_%'
    UNION ALL SELECT datname::text FROM pg_database WHERE datname LIKE 'rehearsal\_%'
"""
# In any database of the server: a database copy is seen from all of them, its lock is in one.
_LOCKED = """
    SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1
        AND (classid::bigint << 32) | objid::bigint = hashtextextended(%s, 0))
"""
_COLUMNS = """
    SELECT c.relname::text, array_agg(a.attname::text ORDER BY a.attnum) FROM pg_class c
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
    WHERE c.relnamespace = to_regnamespace(%s) AND c.relkind = 'r' GROUP BY c.relname ORDER BY c.relname
"""
_POSITIONS = "SELECT sequencename::text, last_value FROM pg_sequences WHERE schemaname = %s AND last_value IS NOT NULL"
_SET = "SELECT setval(c.oid, %s) FROM pg_class c WHERE c.relnamespace = to_regnamespace(%s) AND c.relname = %s"

# A killed process leaves sessions that notice only when their statement ends: those that make copies go by the copies'
# name, and those that replay hold locks there.
_END_SESSIONS = r"""
    SELECT pg_terminate_backend(pid, 5000) FROM (
        SELECT pid FROM pg_stat_activity WHERE application_name = %(name)s
        UNION SELECT l.pid FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n
            ON n.oid = c.relnamespace AND starts_with(n.nspname, %(prefix)s)
            WHERE l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    ) AS found WHERE pid <> pg_backend_pid()
"""

Columns = dict[str, list[str]]


class CopiesInUse(Transient):
    """Another process works with copies of the same id."""

    code = "COPIES_IN_USE"


def copy_name(of: UUID, number: int) -> str:
    return f"{_sessions_of(of)}_{number}"


def _sessions_of(of: UUID) -> str:
    return f"rehearsal_{of.hex}"


@contextmanager
def working(cluster: Cluster, of: UUID) -> Iterator[Connection]:
    """Copies may be made under this id inside; what is left of them is dropped. ServerUnavailable, ServerRefused.

    The connection holds the lock, and can `drop` before the end: a server need not have room for all copies at once.
    """
    with (
        server_errors(cluster.name),
        connect(cluster) as connection,
        sole(connection, _lock(of), busy=CopiesInUse),
    ):
        try:
            yield connection
        finally:
            if not connection.closed:
                drop(connection, of)


def is_worked_with(cluster: Cluster, of: UUID) -> bool:
    """Whether a living process holds the id. Raises ServerUnavailable."""
    with server_errors(cluster.name), connect(cluster) as connection:
        return _is_locked(connection, of)


def clear_away(cluster: Cluster) -> int:
    """Drop what killed processes left on this cluster; how many ids they were of. Raises ServerUnavailable."""
    with server_errors(cluster.name), connect(cluster) as connection:
        found = (_NAMED.fullmatch(name) for (name,) in run(connection, _THERE))
        dead = [of for of in {UUID(each[1]) for each in found if each} if not _is_locked(connection, of)]
        for of in dead:
            drop(connection, of)
    return len(dead)


def drop(connection: Connection, of: UUID) -> None:
    """Every copy of this id. `connection` is to the cluster's shared database. Safe to run again."""
    prefix = f"{_sessions_of(of)}_"
    connection.execute(_END_SESSIONS, {"name": _sessions_of(of), "prefix": prefix})
    for (name,) in run(connection, "SELECT nspname::text FROM pg_namespace WHERE starts_with(nspname, %s)", prefix):
        run(connection, ddl.drop_schema(name))
    for (name,) in run(connection, "SELECT datname::text FROM pg_database WHERE starts_with(datname, %s)", prefix):
        run(connection, ddl.drop_database(name))
    if run(connection, "SELECT to_regclass(%s) IS NOT NULL", f"{ddl.HOUSE}.replay") == [(True,)]:
        run(connection, f"DELETE FROM {ddl.HOUSE}.replay WHERE starts_with(target, %s)", prefix)


def copied(target: Target, release: Release, *, named: str) -> Target:
    """A copy of the target, which is on `release`: a target of its own. Of a pool, with the rows of `target.tenants`.

    Rows are read in one snapshot, in a pool one a tenant, by a role that may only read. What the target has beyond its
    release is left out. Takes as long as dump and restore. Raises ServerUnavailable, ServerRefused.
    """
    cluster, application = Cluster.objects.get(name=target.cluster), named.rpartition("_")[0]
    with server_errors(target.schema), connect(cluster, application=application) as shared:
        match target.tier:
            case Tier.POOL:
                copy = replace(target, schema=named, role=ddl.OWNER)  # granted to nobody else
                _fill_pool(shared, cluster, target, copy, release)
            case Tier.SCHEMA:
                copy = replace(target, schema=named, role="")
                _fill(shared, cluster, target, copy, release)
            case Tier.DATABASE:
                copy = replace(target, database=named, role="")
                create_like_shared(shared, named, owner=ddl.OWNER)
                with connect(cluster, database=named, application=application) as inside:
                    run(inside, ddl.prepare_database())
                    _fill(inside, cluster, target, copy, release)
    return copy


def _fill(inside: Connection, cluster: Cluster, target: Target, copy: Target, release: Release) -> None:
    """Tables, then rows, then what looks at rows: indexes, keys, triggers."""
    schema = checked(copy.schema)
    script, finish = (text.replace(release.placeholder, schema) for text in (release.script, _last(release)))
    with connect(cluster, database=target.database) as source, _read(source), inside.transaction():
        run(inside, ddl.become_owner())
        inside.execute(script)
        for table, columns in _common(source, target.schema, inside, schema).items():
            _pipe(source, inside, table, columns, (target.schema, schema))
        inside.execute(finish)
        _set_positions(source, target.schema, inside, schema)
    _analyze(inside, schema)


def _fill_pool(inside: Connection, cluster: Cluster, target: Target, copy: Target, release: Release) -> None:
    """Each tenant's rows as that tenant: row security picks them, and checks them where they go."""
    schema = checked(copy.schema)
    with inside.transaction():
        pool_layout.make_tables(inside, Pool(id=uuid4(), cluster=cluster, schema=schema), release)
    columns = _common(inside, target.schema, inside, schema)
    order = [
        table
        for table in reversed(space.leaves_first(pool_rows.tables(inside, schema), space.references_of(inside, schema)))
        if table in columns
    ]
    awake = run(inside, pool_rows.TRIGGERS, schema)
    _turn(inside, schema, awake, "DISABLE")  # what they did is in the rows
    for tenant, purpose in admitted(inside, target.after(None, len(_tenants(target)))):
        with inside.transaction():
            run(inside, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")  # one snapshot for all tables
            guard.enter(inside, tenant, purpose)
            run(inside, "SET CONSTRAINTS ALL DEFERRED")
            for table in order:
                run(inside, _insert(table, columns[table], target.schema, schema))
    _turn(inside, schema, awake, "ENABLE")
    with inside.transaction():
        run(inside, ddl.become_owner())
        _set_positions(inside, target.schema, inside, schema)
    _analyze(inside, schema)


def _tenants(target: Target) -> Sequence[TenantContext]:
    if callable(target.tenants):
        raise TypeError("A copy of a pool is of tenants who are named.")
    return target.tenants


@contextmanager
def _read(source: Connection) -> Iterator[None]:
    """One snapshot, and no right to change anything."""
    run(source, "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    run(source, sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(ddl.VERIFIER)))
    yield
    run(source, "COMMIT")


def _common(source: Connection, of: str, inside: Connection, schema: str) -> Columns:
    """The tables and columns that both have; generated ones are computed anew."""
    theirs = {table: set(columns) for table, columns in run(source, _COLUMNS, of)}
    ours = {
        table: [each for each in columns if each in theirs.get(table, ())]
        for table, columns in run(inside, _COLUMNS, schema)
    }
    return {table: columns for table, columns in ours.items() if columns}


def _pipe(source: Connection, inside: Connection, table: str, columns: list[str], schemas: tuple[str, str]) -> None:
    listed = _listed(columns)
    out = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT").format(listed, sql.Identifier(schemas[0], table))
    into = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(schemas[1], table), listed)
    with source.cursor().copy(out) as read, inside.cursor().copy(into) as written:
        for part in read:
            written.write(part)


def _insert(table: str, columns: list[str], source: str, schema: str) -> sql.Composed:
    return sql.SQL("INSERT INTO {0} ({1}) OVERRIDING SYSTEM VALUE SELECT {1} FROM {2}").format(
        sql.Identifier(schema, table), _listed(columns), sql.Identifier(source, table)
    )


def _turn(inside: Connection, schema: str, triggers: Iterable[tuple[str, str]], word: str) -> None:
    statement = sql.SQL(f"ALTER TABLE {{}} {word} TRIGGER {{}}")
    with inside.transaction():
        run(inside, ddl.become_owner())
        for table, name in triggers:
            run(inside, statement.format(sql.Identifier(schema, table), sql.Identifier(name)))


def _set_positions(source: Connection, of: str, inside: Connection, schema: str) -> None:
    for name, value in run(source, _POSITIONS, of):
        run(inside, _SET, value, schema, name)


def _last(release: Release) -> str:
    """What ends a release, without where its sequences stood."""
    return "".join(line for line in release.finish.splitlines(keepends=True) if not line.startswith(POSITION))


def _analyze(inside: Connection, schema: str) -> None:
    """A tenant that has been there for a while has statistics."""
    named = sql.SQL(", ").join(sql.Identifier(schema, table) for table, _columns in run(inside, _COLUMNS, schema))
    run(inside, sql.SQL("ANALYZE {}").format(named))
    report_now(inside)  # so that making the copy is not counted as work on it


def _listed(columns: list[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))


def _is_locked(connection: Connection, of: UUID) -> bool:
    return run(connection, _LOCKED, _lock(of)) == [(True,)]


def _lock(of: UUID) -> str:
    return f"tenure: copies of {of}"
