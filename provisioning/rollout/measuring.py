"""One target's rehearsal: a copy of it is made, brought along as a rollout would, watched, and dropped."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta

from provisioning.databases.copies import copied
from provisioning.databases.paths import weigh
from provisioning.databases.paths.weights import (
    ACCESS_EXCLUSIVE,
    EXCLUSIVE,
    ROW_EXCLUSIVE,
    SHARE,
    SHARE_ROW_EXCLUSIVE,
    SHARE_UPDATE_EXCLUSIVE,
)
from provisioning.databases.releases import release_named
from provisioning.databases.replaying import Arrived, Lane, Shape, Stamped, Target, replay
from provisioning.databases.servers import connect, server_errors
from provisioning.databases.watching import Table, Watch, tables_of, touched, watching
from provisioning.errors import Permanent, Transient
from provisioning.models import ReleasePath
from provisioning.models.stamps import known, learn
from provisioning.rollout.path_plan import cut
from tenants.models import Cluster

MODES = (ROW_EXCLUSIVE, SHARE_UPDATE_EXCLUSIVE, SHARE, SHARE_ROW_EXCLUSIVE, EXCLUSIVE, ACCESS_EXCLUSIVE)
"""The locks that are told of, from the weakest: those below are in nobody's way but an ALTER TABLE's."""
SHOWN = 200  # tables and locks of one copy


@dataclass(frozen=True, slots=True)
class TableReport:
    """One table that was worked on. `bytes` with indexes and TOAST; `rows` were inserted, updated or deleted."""

    table: str
    bytes: int
    rows: int
    rewritten: bool


@dataclass(frozen=True, slots=True)
class LockReport:
    """A lock on a table that was there before, from when it was taken to the commit. `held_ms` is never too short.

    `bytes` is the size of the table in the real target. `migration` and `statement` are the first that asks for such a
    lock there; empty where none says so, as Python does not.
    """

    table: str
    lock: str
    held_ms: float
    bytes: int
    migration: str
    statement: str


@dataclass(frozen=True, slots=True)
class CopyReport:
    """How it went with one target. `bytes` is the real one's, `copied_bytes` the copy's; `tenants` counts whom a pool's
    copy holds. `copied_s` is what the copying took, `seconds` the replay. `error` is `{code, message, migration,
    statement}` where the copy could not be brought along.
    """

    target: str
    tier: str
    cluster: str
    source: str
    tenants: int
    bytes: int
    copied_bytes: int
    copied_s: float
    seconds: float
    tables: tuple[TableReport, ...] = ()
    locks: tuple[LockReport, ...] = ()
    error: dict[str, str] = field(default_factory=dict)


def rehearsed(target: Target, path: ReleasePath, *, name: str, copy_name: str, lock_timeout: timedelta) -> CopyReport:
    """Copy, walk, report. The copy stays for the caller to drop. Raises ServerUnavailable or ServerRefused when it
    cannot be made; what refuses to be brought along is in the report.
    """
    cluster = Cluster.objects.get(name=target.cluster)
    with server_errors(target.schema), connect(cluster, database=target.database) as connection:
        real = {table.name: table.bytes for table in tables_of(connection, target.schema).values()}
    began = time.monotonic()
    copy = copied(target, release_named(path.source.name), named=copy_name)
    copied_s = time.monotonic() - began
    with server_errors(copy.schema), connect(cluster, database=copy.database) as connection, Lane() as lane:
        tables = tables_of(connection, copy.schema)
        before = touched(connection, tables, after=set())
        # Opened now: a lane has its connection from the target before.
        sessions = {lane.connection(copy).info.backend_pid}
        began, error = time.monotonic(), dict[str, str]()
        with watching(connection, copy.schema) as watch:
            try:
                _walk(copy, path, lane, lock_timeout)
            except (Transient, Permanent) as failed:
                error = _said(failed)
            seconds = time.monotonic() - began
        lane.close()
        rows = touched(connection, tables, after=sessions | watch.sessions)
        files = {table.oid: table.file for table in tables_of(connection, copy.schema).values()}
    return CopyReport(
        target=name,
        tier=str(target.tier),
        cluster=target.cluster,
        source=path.source.name,
        tenants=1 if callable(target.tenants) else len(target.tenants),
        bytes=sum(real.values()),
        copied_bytes=sum(table.bytes for table in tables.values()),
        copied_s=copied_s,
        seconds=seconds,
        tables=tuple(_tables(tables.values(), before, rows, files))[:SHOWN],
        locks=tuple(_locks(watch, path, real, pooled=target.pooled))[:SHOWN],
        error=error,
    )


def _walk(copy: Target, path: ReleasePath, lane: Lane, lock_timeout: timedelta) -> None:
    """As `bringing` does, which learns the stamps of a release from whoever arrives there first."""
    stamps = set(known(path.target, pooled=copy.pooled))
    former = frozenset(stamps)
    expected = Stamped(Shape.of(path.target, pooled=copy.pooled), stamps)
    while not isinstance(replay(copy, path, expected=expected, lane=lane, lock_timeout=lock_timeout), Arrived):
        pass
    for stamp in stamps - former:
        learn(path.target, stamp, pooled=copy.pooled)


def _tables(
    tables: Iterable[Table], before: dict[int, int], after: dict[int, int], files: dict[int, int]
) -> list[TableReport]:
    """The largest first."""
    found = [
        TableReport(
            table=each.name,
            bytes=each.bytes,
            rows=max(0, after.get(each.oid, 0) - before.get(each.oid, 0)),
            rewritten=each.oid in files and files[each.oid] != each.file,
        )
        for each in tables
    ]
    return sorted((each for each in found if each.rows or each.rewritten), key=lambda each: (-each.bytes, each.table))


def _locks(watch: Watch, path: ReleasePath, real: dict[str, int], *, pooled: bool) -> list[LockReport]:
    """The longest first: what was seen, and what must have been there and was too short to be seen."""
    asked = _asked_for(path, pooled=pooled)
    there = {table.name: table.bytes for table in watch.tables.values()}
    held = {key: watch.gap_s for key in asked if key[0] in there} | watch.held
    found = [
        LockReport(
            table=table,
            lock=lock,
            held_ms=round(seconds * 1_000, 3),
            bytes=max(real.get(table, 0), there[table]),
            migration=asked.get((table, lock), ("", ""))[0],
            statement=asked.get((table, lock), ("", ""))[1],
        )
        for (table, lock), seconds in held.items()
        if lock in MODES
    ]
    return sorted(found, key=lambda each: (-each.held_ms, each.table, each.lock))


def _asked_for(path: ReleasePath, *, pooled: bool) -> dict[tuple[str, str], tuple[str, str]]:
    """By table and lock, the migration and the statement that first asks for it."""
    asked: dict[tuple[str, str], tuple[str, str]] = {}
    for migration in path.pool_migrations if pooled else path.migrations:
        for act in migration["acts"]:
            for weight in weigh(act["text"]) if act["kind"] != "python" else ():
                name = f"{migration['app']}.{migration['name']}"
                asked.setdefault((weight.table, weight.lock), (name, cut(act["text"])))
    return asked


def _said(error: Transient | Permanent) -> dict[str, str]:
    known_of = {name: str(error.metadata.get(name, "")) for name in ("migration", "statement")}
    return {"code": error.code, "message": cut(str(error)), **known_of}
