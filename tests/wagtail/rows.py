"""All rows of a schema, in a form in which two schemas that were treated alike are equal."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from psycopg import sql

from provisioning.databases.servers import Connection, run

Row = dict[str, Any]
Tables = dict[str, list[Row]]

TABLES = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace ORDER BY 1"
REFERENCES = """
SELECT c.conrelid::regclass::text, a.attname, c.confrelid::regclass::text
FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
WHERE c.contype = 'f' AND cardinality(c.conkey) = 1 AND c.connamespace = current_schema()::regnamespace
"""
# Ids without a foreign key, or kept as text: where they lead to in what `authoring` writes.
LOOSE = (
    ("taggit_taggeditem", "object_id", "wagtailimages_image"),
    ("wagtailcore_modellogentry", "object_id", "wagtaildocs_document"),
    ("wagtailcore_modellogentry", "user_id", "auth_user"),
    ("wagtailcore_pagelogentry", "page_id", "wagtailcore_page"),
    ("wagtailcore_pagelogentry", "user_id", "auth_user"),
    ("wagtailcore_revision", "object_id", "wagtailcore_page"),
    ("wagtailcore_workflowstate", "object_id", "wagtailcore_page"),
)

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def read(connection: Connection, *, since: datetime) -> Tables:
    """The rows of the schema that is first on the search path, without what the time of day and chance have made.

    Times after `since` are one and the same, and UUIDs.
    """
    found = {}
    for (table,) in run(connection, TABLES):
        asked = sql.SQL("SELECT to_jsonb(t) - 'tenant_id' FROM {} AS t").format(sql.Identifier(table))
        rows = [{name: _steady(value, since) for name, value in row.items()} for (row,) in run(connection, asked)]
        if table == "django_migrations":
            rows = [{name: row[name] for name in ("app", "name")} for row in rows]
        found[table] = sorted(rows, key=_order)
    return found


def references(connection: Connection) -> list[tuple[str, str, str]]:
    """(table, column, other table) of the foreign keys of the schema that is first on the search path."""
    return sorted(run(connection, REFERENCES))


def renumbered(tables: Tables, leading: list[tuple[str, str, str]]) -> Tables:
    """The same with ids counted from 1 in each table, and with what leads to them: a pool's tenants share sequences.

    A permission is called by its name. Content types keep their ids, which are the same for everybody.
    """
    places: dict[str, dict[str, object]] = {
        table: {str(row["id"]): place for place, row in enumerate(sorted(rows, key=lambda row: row["id"]), 1)}
        for table, rows in tables.items()
        if rows and isinstance(rows[0].get("id"), int) and table != "django_content_type"
    }
    places["auth_permission"] = {
        str(row["id"]): f"{row['content_type_id']} {row['codename']}" for row in tables["auth_permission"]
    }
    columns: dict[str, dict[str, str]] = {table: {"id": table} for table in places}
    parents = {table: other for table, _column, other in leading if "id" not in (tables[table] or [{}])[0]}
    for table, column, other in (*leading, *LOOSE):  # a child of another model has its parent's id for a key
        columns.setdefault(table, {})[column] = parents.get(other, other)
    return {
        table: sorted(
            ({name: _place(places, columns, table, name, value) for name, value in row.items()} for row in rows),
            key=_order,
        )
        for table, rows in tables.items()
    }


def differing(one: Tables, other: Tables) -> Iterator[str]:
    """A line for each row that one of them lacks."""
    for table in sorted(one.keys() | other.keys()):
        here, there = (list(map(_order, each.get(table, []))) for each in (one, other))
        yield from (f"- {table} {row}" for row in here if row not in there)
        yield from (f"+ {table} {row}" for row in there if row not in here)
        if len(here) != len(there):
            yield f"! {table}: {len(here)} and {len(there)} rows"


def _place(
    places: dict[str, dict[str, object]], columns: dict[str, dict[str, str]], table: str, name: str, value: object
) -> object:
    other = columns.get(table, {}).get(name)
    return value if other is None or value is None else places.get(other, {}).get(str(value), value)


def _order(row: Row) -> str:
    return str(sorted(row.items()))


def _steady(value: object, since: datetime) -> object:
    if not isinstance(value, str):
        return value
    if _UUID.fullmatch(value):
        return "a UUID"
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return value
    return "lately" if at.tzinfo is not None and at.astimezone(UTC) >= since else value
