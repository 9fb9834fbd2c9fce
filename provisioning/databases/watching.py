"""Which locks a replay holds on a target's tables, and for how long, as somebody beside it sees them.

# Note [Watched from outside]
The replay that is watched is the very one that a rollout does: the same text in the same round trips, with Python in
its own process. Asking it to stop after each statement would change what is measured. So another session reads
`pg_locks` every few milliseconds. A lock counts from the look before it was first seen to the look after it was last
seen: too long by at most two looks, and never too short. One that came and went between two looks was held for no
longer than the longest time between two.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg

from provisioning.databases.replaying.sessions import APPLICATION
from provisioning.databases.servers import Connection, run

EVERY_S = 0.002
_TABLES = """
    SELECT oid, relname::text, pg_relation_filenode(oid), pg_total_relation_size(oid) FROM pg_class
    WHERE relnamespace = to_regnamespace(%s) AND relkind IN ('r', 'm') ORDER BY relname
"""
_HELD = """
    SELECT relation, mode, pid FROM pg_locks WHERE locktype = 'relation' AND granted AND relation = ANY (%s)
    AND pid IN (SELECT pid FROM pg_stat_activity WHERE application_name = %s AND datname = current_database())
"""
# A session reports what it did when it is idle for a second, or ends (PostgreSQL 18, "Viewing Statistics").
_ENDED = "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = ANY (%s)"
_TOUCHED = "SELECT relid, n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_all_tables WHERE relid = ANY (%s)"
REPORTED_WITHIN_S = 10.0
_WORDS = re.compile(r"(?<!^)(?=[A-Z])")

Key = tuple[int, str]


@dataclass(frozen=True, slots=True)
class Table:
    """One that was there before: its size with indexes and TOAST, and the file it is in."""

    oid: int
    name: str
    file: int
    bytes: int


@dataclass(slots=True)
class Watch:
    """What was seen. `held`: (table, lock) -> seconds, the longest time at a stretch. `gap_s` between two looks.

    `sessions` are the server's process ids of who held them.
    """

    tables: dict[int, Table]
    gap_s: float = 0.0
    seen: dict[Key, float] = field(default_factory=dict)
    sessions: set[int] = field(default_factory=set)
    _since: dict[Key, float] = field(default_factory=dict)
    _looked: float = 0.0

    @property
    def held(self) -> dict[tuple[str, str], float]:
        return {(self.tables[oid].name, called(mode)): seconds for (oid, mode), seconds in self.seen.items()}

    def look(self, found: set[Key], now: float) -> None:
        """The locks that are held now, on a monotonic clock."""
        before, self._looked = self._looked or now, now
        self.gap_s = max(self.gap_s, now - before)
        for key in found - self._since.keys():
            self._since[key] = before
        for key in self._since.keys() | found:
            self.seen[key] = max(self.seen.get(key, 0.0), now - self._since[key])
        for key in self._since.keys() - found:
            del self._since[key]


def called(mode: str) -> str:
    """AccessExclusiveLock as SQL writes it."""
    return _WORDS.sub(" ", mode.removesuffix("Lock")).upper()


def tables_of(connection: Connection, schema: str) -> dict[int, Table]:
    """By oid."""
    return {row[0]: Table(*row) for row in run(connection, _TABLES, schema)}


def report_now(connection: Connection) -> None:
    """What this session did is in the statistics when this returns."""
    run(connection, "SELECT pg_stat_force_next_flush()")


def touched(connection: Connection, tables: dict[int, Table], *, after: set[int]) -> dict[int, int]:
    """Rows that were ever written in each table, once the sessions with these process ids have ended."""
    until = time.monotonic() + REPORTED_WITHIN_S
    while run(connection, _ENDED, list(after)) == [(False,)] and time.monotonic() < until:
        time.sleep(EVERY_S)
    return {oid: int(rows) for oid, rows in run(connection, _TOUCHED, list(tables))}


@contextmanager
def watching(connection: Connection, schema: str) -> Iterator[Watch]:
    """Look from another thread, through a connection that it has for itself meanwhile. Raises psycopg errors."""
    watch, stop = Watch(tables_of(connection, schema)), threading.Event()
    failed: list[psycopg.Error] = []

    def keep_looking() -> None:
        try:
            while not stop.wait(EVERY_S):
                _look(connection, watch)
        except psycopg.Error as error:
            failed.append(error)

    _look(connection, watch)
    thread = threading.Thread(target=keep_looking, name="watching locks", daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        stop.set()
        thread.join()
    if failed:
        raise failed[0]
    _look(connection, watch)


def _look(connection: Connection, watch: Watch) -> None:
    found = run(connection, _HELD, list(watch.tables), APPLICATION)
    watch.sessions.update(pid for _oid, _mode, pid in found)
    watch.look({(oid, mode) for oid, mode, _pid in found}, time.monotonic())
