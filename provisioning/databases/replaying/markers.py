"""How far a target is along a path that takes more than one transaction: one row in its own database.

The row is there from the first stage's beginning until the target arrives. Whoever walks a stage moves it on in the
stage's transaction, from exactly where it was found: who comes late finds it elsewhere, and is rolled back.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from uuid import UUID

from psycopg import sql

from provisioning.databases.ddl import HOUSE, REPLAY
from provisioning.databases.replaying.errors import OVERTAKEN
from provisioning.databases.servers import Connection, run

TABLE = f"{HOUSE}.replay"

_THERE = f"SELECT to_regclass('{TABLE}') IS NOT NULL"
_ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtextextended('tenure: the table of replays', 0))"
_MARKER = f"SELECT path, done, cursor ->> 'after' FROM {TABLE} WHERE target = %s"
_BEGIN = f"INSERT INTO {TABLE} (target, path, done) VALUES ({{target}}, {{path}}, 0);\n"
_ON = f"UPDATE {TABLE} SET done = {{now}}, cursor = {{next}}"
_MOVE = f"""
DO $tenure$ BEGIN
    {{verb}} WHERE target = {{target}} AND path = {{path}} AND done = {{done}} AND cursor IS NOT DISTINCT FROM {{last}};
    IF NOT FOUND THEN RAISE EXCEPTION 'another walker was here first' USING ERRCODE = '{OVERTAKEN}'; END IF;
END $tenure$;
"""


@dataclass(frozen=True, slots=True)
class Marker:
    """`done` stages of `path` are behind the target; of the next one, the tenants up to and with `after`."""

    path: UUID
    done: int
    after: UUID | None = None


def ensure(connection: Connection) -> None:
    """The table is there. Databases that were prepared before there were replays get it now."""
    if run(connection, _THERE) == [(True,)]:
        return
    with connection.transaction():
        run(connection, _ONE_AT_A_TIME)
        run(connection, sql.SQL(REPLAY).format(house=sql.Identifier(HOUSE)))


def of(connection: Connection, target: str) -> Marker | None:
    """The target's, or None: it is at one end of a path, or nobody knows."""
    if run(connection, _THERE) == [(False,)]:
        return None
    found = run(connection, _MARKER, target)
    return Marker(found[0][0], int(found[0][1]), UUID(found[0][2]) if found[0][2] else None) if found else None


def begun(target: str, path: UUID) -> str:
    """The statement that sets it."""
    return _BEGIN.format(target=_literal(target), path=_literal(path))


def moved(target: str, marker: Marker, *, after: UUID | None = None) -> str:
    """The statement that moves it on: to the next stage, or in the same one past this tenant."""
    now = marker.done + (after is None)
    verb = _ON.format(now=now, next=_cursor(after))
    return _moving(verb, target, marker)


def removed(target: str, marker: Marker) -> str:
    """The statement that takes it away."""
    return _moving(f"DELETE FROM {TABLE}", target, marker)


def _moving(verb: str, target: str, marker: Marker) -> str:
    return _MOVE.format(
        verb=verb, target=_literal(target), path=_literal(marker.path), done=marker.done, last=_cursor(marker.after)
    )


def _cursor(after: UUID | None) -> str:
    return "NULL" if after is None else f"{_literal(json.dumps({'after': str(after)}))}::jsonb"


def _literal(value: object) -> str:
    return sql.Literal(value).as_string().strip()
