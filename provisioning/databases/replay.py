"""Copy a release into a schema: the same text and the same rows for a tenant, a template, or a test."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from psycopg import sql

from provisioning.databases.ddl import become_owner
from provisioning.databases.servers import Connection
from provisioning.models import Release

# Note [Text is replaced in the script, and nowhere else]
# Names in DDL are composed by psycopg.sql. The one exception is here: a script of pg_dump names its schema in hundreds
# of places, function bodies and default expressions among them, where no parameter can stand. It is sound because the
# blueprint's schema was *named* by the placeholder while Django migrated, 128 random bits that occur nowhere by chance,
# so pg_dump itself wrote the placeholder exactly where the schema is meant; and because the names put in its place are
# derived from ids (`t_<hex>`) or fixed words, which need no quoting in any context. `checked` refuses any other.

# Note [Few round trips]
# Tables, rows and indexes go to the server as one text in one round trip: on a busy machine each further one waits for
# its turn on the processor twice. COPY cannot be part of such a text, so rows are written as INSERT, whose literals
# take the type of their column as COPY's do. A table with many rows is copied all the same: there COPY is faster.
COPIED_FROM = 1_000  # rows of one table
PER_INSERT = 500  # rows of one statement
TAB = "\t"

_NEEDS_NO_QUOTES = re.compile(r"[a-z][a-z0-9_]{0,62}")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_MEANT = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def replay(connection: Connection, release: Release, schema: str) -> None:
    """Make `schema` and fill it, inside the caller's transaction, owned by the owner role.

    Raises psycopg errors; DuplicateSchema when it is there already.
    """
    name = checked(schema)
    head, finish = (text.replace(release.placeholder, name) for text in _texts(release))
    large = [table for table in release.seed if table["rows"] >= COPIED_FROM]
    if not large:
        connection.execute(head + finish)
        return
    connection.execute(head)
    for table in large:
        with connection.cursor().copy(_target("COPY {} ({}) FROM STDIN", table, name)) as copy:
            copy.write(table["copy"].replace(release.placeholder, name))
    connection.execute(finish)


def checked(schema: str) -> str:
    """The name itself, if it is one that needs no quotes anywhere."""
    if not _NEEDS_NO_QUOTES.fullmatch(schema):
        raise ValueError(f"{schema[:63]!r} is no derived name.")
    return schema


@lru_cache(maxsize=4)
def _texts(release: Release) -> tuple[str, str]:
    """What comes before large tables are copied, and what comes after. Kept: a release never changes."""
    small = [table for table in release.seed if table["rows"] < COPIED_FROM]
    rows = (statement for table in small for statement in inserts(table, release.placeholder))
    head = "\n".join((become_owner().as_string(), ";", release.script, *rows))
    return head, f"\n{release.finish}\nRESET ROLE; SET LOCAL search_path = pg_catalog"


def inserts(table: dict[str, Any], schema: str) -> Iterator[str]:
    """The rows of one table, read from their COPY text (PostgreSQL 18, "COPY", "Text Format")."""
    target = _target("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE VALUES", table, schema).as_string()
    lines = table["copy"].removesuffix("\n").split("\n")
    for start in range(0, len(lines), PER_INSERT):
        yield f"{target} {', '.join(map(_row, lines[start : start + PER_INSERT]))};"


def _row(line: str) -> str:
    return f"({', '.join(map(_literal, line.split(TAB)))})"


def _literal(field: str) -> str:
    """One field of COPY text as an SQL literal of whatever type its column has."""
    return sql.Literal(meant(field)).as_string()


def meant(field: str) -> str | None:
    """What one field of COPY text says; None for NULL."""
    return None if field == r"\N" else _ESCAPED.sub(lambda found: _MEANT.get(found[1], found[1]), field)


def _target(statement: str, table: dict[str, Any], schema: str) -> sql.Composed:
    columns = sql.SQL(", ").join(map(sql.Identifier, table["columns"]))
    return sql.SQL(statement).format(sql.Identifier(schema, table["table"]), columns)
