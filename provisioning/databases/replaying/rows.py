"""Rows that come with a release: Django's record of migrations, and what `post_migrate` makes.

# Note [Ids of content types]
Django's process-wide cache of content types is true for every tenant because all begin with the same ids. So a new one
gets the id that the blueprint gave it, wherever that is free. It is not where a tenant's application made rows of its
own; there it gets a fresh id, and the permissions that belong to it follow it: they are found by natural key.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from psycopg import sql

from provisioning.databases.replay import TAB, inserts, meant

if TYPE_CHECKING:
    from provisioning.models import Release, ReleasePath

Key = tuple[str, str]
Row = dict[str, str | None]

TYPES, PERMISSIONS, RECORD = "django_content_type", "auth_permission", "django_migrations"

# Sequences only ever rise: in a pool others draw from the same one.
_RAISE = """
SELECT setval(s, greatest({highest}, coalesce(pg_sequence_last_value(s::regclass), 0), (SELECT max(id) FROM {table})))
FROM pg_get_serial_sequence({literal}, 'id') AS s WHERE s IS NOT NULL;
"""
_NEW_TYPES = """
INSERT INTO django_content_type (id, app_label, model)
SELECT CASE WHEN t.id IS NULL THEN w.id ELSE nextval(pg_get_serial_sequence('django_content_type', 'id')) END,
    w.app_label, w.model
FROM (VALUES {rows}) AS w (id, app_label, model) LEFT JOIN django_content_type t ON t.id = w.id
WHERE NOT EXISTS (SELECT FROM django_content_type c WHERE (c.app_label, c.model) = (w.app_label, w.model));
"""
_NEW_PERMISSIONS = """
INSERT INTO auth_permission (id, name, content_type_id, codename)
SELECT CASE WHEN t.id IS NULL THEN w.id ELSE nextval(pg_get_serial_sequence('auth_permission', 'id')) END,
    w.name, c.id, w.codename
FROM (VALUES {rows}) AS w (id, name, app_label, model, codename)
JOIN django_content_type c ON (c.app_label, c.model) = (w.app_label, w.model)
LEFT JOIN auth_permission t ON t.id = w.id
WHERE NOT EXISTS (SELECT FROM auth_permission p WHERE (p.content_type_id, p.codename) = (c.id, w.codename));
"""
_RECORD = "INSERT INTO django_migrations (app, name, applied) VALUES {rows};\n"
_STRIKE = "DELETE FROM django_migrations WHERE (app, name) IN (VALUES {rows});\n"


def decoded(table: dict[str, Any]) -> Iterator[Row]:
    """The rows of a table of a release's seed, as text, by column."""
    for line in table["copy"].removesuffix("\n").split("\n"):
        if line:
            yield dict(zip(table["columns"], map(meant, line.split(TAB)), strict=True))


def recorded(source: Iterable[Key], target: Iterable[Key], order: list[Key]) -> str:
    """The statements that take django_migrations from the one to the other, in the order they were walked."""
    there, wanted = frozenset(source), frozenset(target)
    place = {key: number for number, key in enumerate(order)}
    new = sorted(wanted - there, key=lambda key: (place.get(key, len(place)), key))
    text = _STRIKE.format(rows=_values(sorted(there - wanted))) if there - wanted else ""
    return text + (_RECORD.format(rows=_values(new, "now()")) if new else "")


def made_before_python(path: ReleasePath) -> str:
    """The statements that bring the target's new content types; empty if it has none, or if their table changes.

    One that a migration renames has its id already. See Note [Ids of content types].
    """
    if any(migration["app"] == "contenttypes" for migration in path.migrations):
        return ""
    there = list(_seeded_types(path.source))
    ids, keys = ({row["id"] for row in there}, {_type_key(row) for row in there})
    new = [row for row in _seeded_types(path.target) if row["id"] not in ids and _type_key(row) not in keys]
    return _types(new) if there and new else ""


def made_by_post_migrate(path: ReleasePath) -> str:
    """The statements that bring the path's rows; empty if it has none. See Note [Ids of content types]."""
    tables = {table["table"]: list(decoded(table)) for table in path.rows}
    types, permissions = tables.pop(TYPES, []), tables.pop(PERMISSIONS, [])
    text = ""
    if types:
        text += _types(types)
    if permissions:
        known = {row["id"]: row for row in (*_seeded_types(path.target), *types)}
        whole = [(row, known[row["content_type_id"]]) for row in permissions]
        listed = ((_id(row), row["name"], kind["app_label"], kind["model"], row["codename"]) for row, kind in whole)
        text += _raised(PERMISSIONS, permissions) + _NEW_PERMISSIONS.format(rows=_listed(listed))
    for table in path.rows:
        if table["table"] in tables:
            text += "".join(_unless_there(table, path.target.placeholder))
            if "id" in table["columns"]:
                text += _raised(table["table"], tables[table["table"]])
    return text


def _seeded_types(release: Release) -> Iterator[Row]:
    """The blueprint's content types."""
    for table in release.seed:
        if table["table"] == TYPES:
            yield from decoded(table)


def _type_key(row: Row) -> tuple[str | None, str | None]:
    return row["app_label"], row["model"]


def _types(rows: list[Row]) -> str:
    listed = _listed((_id(row), *_type_key(row)) for row in rows)
    return _raised(TYPES, rows) + _NEW_TYPES.format(rows=listed)


def _unless_there(table: dict[str, Any], schema: str) -> Iterator[str]:
    for statement in inserts(table, schema):
        yield f"{statement.removesuffix(';')} ON CONFLICT DO NOTHING;\n"


def _raised(table: str, rows: list[Row]) -> str:
    highest = max((number for row in rows if isinstance(number := _id(row), int)), default=1)
    named = sql.Identifier(table).as_string()
    return _RAISE.format(highest=highest, table=named, literal=sql.Literal(named).as_string())


def _id(row: Row) -> int | str | None:
    given = row["id"]
    return int(given) if given is not None and given.isdigit() else given


def _values(keys: Iterable[Key], *more: str) -> str:
    return ", ".join(f"({', '.join((*map(_literal, key), *more))})" for key in keys)


def _listed(rows: Iterable[Iterable[object]]) -> str:
    return ", ".join(f"({', '.join(map(_literal, row))})" for row in rows)


def _literal(value: object) -> str:
    return sql.Literal(value).as_string()
