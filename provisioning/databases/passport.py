"""A tenant's rows as lines of JSON, a table at a time, all of them as they stood at one moment.

# Note [As whom a passport is read]
In a pool as the tenant itself: under a signed context row security, which is forced for the owner too, confines the
session to its rows, and each statement names the tenant as well. A shut tenant is entered for the purpose `erase`, the
only one that its closed door leaves; the transaction is read-only, so that is no right to erase. In the other tiers as
the owner of the tables, in the one schema that the tenant's id names; its own role may not log in while it is shut.
"""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from psycopg import sql

from provisioning.databases import ddl, guard, pooling
from provisioning.databases.servers import Connection, connect, run, server_errors
from tenants.context import TenantContext
from tenants.isolation.tickets import ERASE, USE
from tenants.models import Cluster
from tenants.states import Tier

# Partitions have the rows of their parents. A domain is told by the type below it.
_COLUMNS = """
    SELECT c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod),
        coalesce(nullif(t.typbasetype, 0), t.oid)::regtype::text,
        coalesce(array_position(k.conkey, a.attnum), 0)
    FROM pg_class c
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype = 'p'
    WHERE c.relnamespace = to_regnamespace(%s) AND c.relkind = 'r' ORDER BY c.relname COLLATE "C", a.attnum
"""
_IS_OPEN = f"SELECT open FROM {ddl.GUARD}.placement WHERE tenant = %s"
_AS_JSON = {
    "numeric": "{}::text",
    "numeric[]": "{}::text[]",
    "bytea": r"translate(encode({}, 'base64'), E'\n', '')",
}
"""What JSON would round or has no word for; PostgreSQL's own JSON has ISO 8601 for dates and times."""


@dataclass(frozen=True, slots=True)
class Column:
    """`type` as PostgreSQL writes it; `base` the same below domains; `key`: its place in the primary key, from 1."""

    name: str
    type: str
    base: str
    key: int


@dataclass(frozen=True, slots=True)
class Table:
    name: str
    columns: tuple[Column, ...]
    pooled: bool


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One moment of one tenant's tables. `connection` is in a read-only transaction that sees nothing later."""

    connection: Connection
    tenant: TenantContext
    at: datetime
    tables: tuple[Table, ...]

    def lines(self, table: Table, *, record: str = "") -> Generator[bytes]:
        """A JSON object a row, columns in order, by the primary key. Ends with a line feed; none is within.

        Close it where it is not read to its end: the transaction does not end before the copy does.
        `record`: of the one row with this key alone; of a table whose key is not one column, no row.
        """
        with self.connection.cursor().copy(_rows(self.tenant, table, record)) as copy:
            for (line,) in copy.rows():
                # A `json` column is told as it was written; line feeds can only stand between its tokens there.
                yield line.replace("\n", " ").replace("\r", " ").encode() + b"\n"


@contextmanager
def snapshot(tenant: TenantContext) -> Iterator[Snapshot]:
    """See Note [As whom a passport is read]. Raises ServerUnavailable, ServerRefused."""
    cluster = Cluster.objects.get(name=tenant.cluster)
    with (
        server_errors(cluster.name),
        connect(cluster, database=tenant.database, application="tenure: passport") as connection,
        connection.transaction(),
    ):
        run(connection, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        run(connection, "SET LOCAL intervalstyle = iso_8601")
        if tenant.tier == Tier.POOL:
            is_open = run(connection, _IS_OPEN, tenant.tenant_id) == [(True,)]
            guard.enter(connection, tenant, USE if is_open else ERASE)
        else:
            run(connection, sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(ddl.OWNER)))
        ((at,),) = run(connection, "SELECT now()")
        yield Snapshot(connection, tenant, at, tuple(_tables(connection, tenant)))


def _tables(connection: Connection, tenant: TenantContext) -> Iterator[Table]:
    """The tenant's, and those that all tenants of a pool share: what its rows refer to there is the same for all."""
    found: dict[str, list[Column]] = {}
    for table, *column in run(connection, _COLUMNS, tenant.schema):
        found.setdefault(str(table), []).append(Column(*column))
    for name, columns in found.items():
        pooled = any(column.name == pooling.TENANT_ID for column in columns) and tenant.tier == Tier.POOL
        if pooled or tenant.tier != Tier.POOL or name in pooling.SHARED_TABLES:
            kept = tuple(column for column in columns if not pooled or column.name != pooling.TENANT_ID)
            yield Table(name, kept, pooled)


def _rows(tenant: TenantContext, table: Table, record: str) -> sql.Composed:
    own = sql.SQL("own.{}")
    values = sql.SQL(", ").join(
        sql.SQL("{} AS {}").format(
            sql.SQL(_AS_JSON.get(column.base, "{}")).format(own.format(sql.Identifier(column.name))),
            sql.Identifier(column.name),
        )
        for column in table.columns
    )
    keys = sorted((column for column in table.columns if column.key), key=lambda column: column.key)
    ordered = sql.SQL(", ").join(own.format(sql.Identifier(column.name)) for column in keys) if keys else None
    which: list[sql.Composable] = [sql.SQL("true")]
    if table.pooled:
        column = own.format(sql.Identifier(pooling.TENANT_ID))
        which.append(sql.SQL("{} = {}").format(column, sql.Literal(tenant.tenant_id)))
    if record:
        key = own.format(sql.Identifier(keys[0].name)) if len(keys) == 1 else sql.SQL("NULL")
        which.append(sql.SQL("{}::text = {}").format(key, sql.Literal(record)))
    return sql.SQL(
        "COPY (SELECT row_to_json(line) FROM (SELECT {} FROM {} AS own WHERE {}{}) AS line) TO STDOUT"
    ).format(
        values,
        sql.Identifier(tenant.schema, table.name),
        sql.SQL(" AND ").join(which),
        sql.SQL(" ORDER BY {}").format(ordered) if ordered else sql.SQL(""),
    )
