"""Part of the isolation benchmark: 1,000 rows a tenant, made on the server.

A pool's rows lie mixed, as years of use would leave them: each tenant's are scattered over as many pages as can be.
So do those of a plain application with as many rows, which has no tenants and hence an id for each: see `id_among`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import psycopg
from psycopg import sql

CATEGORIES, CUSTOMERS, PRODUCTS, ORDERS, LINES = 4, 96, 200, 100, 600
LINES_PER_ORDER = LINES // ORDERS
PER_TENANT = CATEGORIES + CUSTOMERS + PRODUCTS + ORDERS + LINES

FIRST_FREE_ID = 100_000_000

Values = Callable[[Callable[[str], str]], str]
# How many of each table, and the columns of row number n, given what makes an id of the number of a row that is meant.
# Fifty products are in each category.
ROWS: dict[str, tuple[int, str, Values]] = {
    "store_category": (CATEGORIES, "name", lambda _id: "'Category ' || n"),
    "store_customer": (
        CUSTOMERS,
        "name, email, joined_at",
        lambda _id: (
            "'Customer ' || n, 'customer' || n || '@example.org', timestamptz '2026-01-01' + n * interval '1 hour'"
        ),
    ),
    "store_product": (
        PRODUCTS,
        "category_id, name, description, price, stock",
        lambda id_of: (
            f"{id_of(f'1 + n % {CATEGORIES}')}, 'Product ' || n, 'What it is, in a few words, number ' || n,"
            " n % 90 + 9.99, n"
        ),
    ),
    "store_order": (
        ORDERS,
        "customer_id, placed_at",
        lambda id_of: f"{id_of(f'1 + n % {CUSTOMERS}')}, timestamptz '2026-02-01' + n * interval '1 hour'",
    ),
    "store_line": (
        LINES,
        "order_id, product_id, quantity, price",
        lambda id_of: f"{id_of(f'1 + n % {ORDERS}')}, {id_of(f'1 + (n * 7) % {PRODUCTS}')}, 1 + n % 5, n % 90 + 9.99",
    ),
}
TENANTS = "benchmark_tenants"


def id_among(number: int, several: int, which: int) -> int:
    """The id of row `number` of the one that is `which` among several (from 1), in an application that has them all."""
    return (number - 1) * several + which


def fill(connection: psycopg.Connection, schema: str, *, several: int = 1) -> None:
    """One tenant's rows in a schema of its own, or those of several that no column tells apart.

    `connection` is a superuser's, in autocommit.
    """
    with connection.transaction():
        _without_triggers(connection)
        with _without_indexes(connection, schema):
            for table, (count, columns, values) in ROWS.items():
                text = (
                    "INSERT INTO {} (id, {}) SELECT {}, {}"
                    " FROM generate_series(1, {}) AS n, generate_series(1, {}) AS which"
                )

                def id_of(number: str) -> str:
                    return f"({number} - 1) * {several} + which"

                made = id_of("n"), values(id_of), count, several
                _run(connection, text, sql.Identifier(schema, table), columns, *made)
    _finish(connection, schema)


def fill_pool(connection: psycopg.Connection, schema: str, tenants: Sequence[str], *, others: int) -> None:
    """The rows of `tenants` and of so many others, row number by row number.

    A superuser is not asked by row security. Indexes and keys are made afterwards: sorting is faster than inserting.
    """
    with connection.transaction():
        _without_triggers(connection)
        connection.execute(
            f"CREATE TEMP TABLE {TENANTS} ON COMMIT DROP AS SELECT unnest(%s::uuid[]) AS id"
            " UNION ALL SELECT gen_random_uuid() FROM generate_series(1, %s)",
            [list(tenants), others],
        )
        with _without_indexes(connection, schema):
            for table, (count, columns, values) in ROWS.items():
                text = "INSERT INTO {} (tenant_id, id, {}) SELECT t.id, n, {} FROM generate_series(1, {}) AS n, {} AS t"
                _run(connection, text, sql.Identifier(schema, table), columns, values(_alone), count, TENANTS)
        connection.execute(
            "INSERT INTO tenure_guard.placement (tenant, incarnation, open)"
            f" SELECT id, gen_random_uuid(), true FROM {TENANTS} ON CONFLICT DO NOTHING"
        )
    _finish(connection, schema)


@contextmanager
def _without_indexes(connection: psycopg.Connection, schema: str) -> Iterator[None]:
    tables = [sql.Identifier(schema, table).as_string() for table in ROWS]
    constraints = connection.execute(
        "SELECT conrelid::regclass::text, quote_ident(conname), pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE conrelid = ANY (%s::regclass[]) AND contype IN ('f', 'u', 'p') ORDER BY contype = 'f'",
        [tables],
    ).fetchall()
    for table, name, _definition in reversed(constraints):
        connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
    indexes = connection.execute(
        "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index"
        " WHERE indrelid = ANY (%s::regclass[])",
        [tables],
    ).fetchall()
    for name, _definition in indexes:
        connection.execute(f"DROP INDEX {name}")
    yield
    connection.execute("SET LOCAL maintenance_work_mem = '512MB'")
    for _name, definition in indexes:
        connection.execute(definition)
    for table, name, definition in constraints:
        connection.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")


def _without_triggers(connection: psycopg.Connection) -> None:
    """Nor checks of foreign keys: the rows agree with each other by construction."""
    connection.execute("SET LOCAL session_replication_role = replica")


def _finish(connection: psycopg.Connection, schema: str) -> None:
    """Sequences past the rows, statistics, and nothing left for the autovacuum to do meanwhile."""
    for table in ROWS:
        name = sql.Identifier(schema, table).as_string()
        connection.execute("SELECT setval(pg_get_serial_sequence(%s, 'id'), %s)", [name, FIRST_FREE_ID])
        connection.execute(sql.SQL("VACUUM (FREEZE, ANALYZE) {}").format(sql.Identifier(schema, table)))
    connection.execute("CHECKPOINT")


def _alone(number: str) -> str:
    """Ids of a tenant in a pool count from 1."""
    return number


def _run(connection: psycopg.Connection, text: str, table: sql.Identifier, *parts: str | int) -> None:
    connection.execute(sql.SQL(text).format(table, *(sql.SQL(str(part)) for part in parts)))
