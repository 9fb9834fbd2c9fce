"""What a plan says of the way from one release to another: statements, locks, work on rows, and what stands in the way.

# Note [A plan is bounded]
Somebody reads it, and a row keeps it. So of a long path it shows the first statements, each cut short, and counts all
of them; `digest` is of every word of the path, so that an approval binds what is not shown as well.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from typing import Any

from provisioning.databases.paths import StepSummary, Weight, statements_per_migration
from provisioning.models import ReleasePath

MIGRATIONS = 500  # of one path
TEXTS = 500  # statements and data operations of one path
CHARACTERS = 1_000  # of one of them
LOCKS = 50  # of one migration
REFUSALS = 50


@dataclass(frozen=True, slots=True)
class LockPlan:
    """A lock on a table that is there already; whether the statement writes all of it anew, or reads all of it.

    `lock` is PostgreSQL's name of the mode, such as ACCESS EXCLUSIVE, or `unknown`.
    """

    table: str
    lock: str
    rewrites: bool
    scans: bool
    why: str


@dataclass(frozen=True, slots=True)
class MigrationPlan:
    """What one migration sends to each target, which locks that takes, and which of its operations work on rows.

    `statements` and `data` may show less than there is: `statement_count` and `data_count` say how much. In a pool data
    operations are done once for each tenant. `unapply`: it is walked backwards.
    """

    migration: str
    atomic: bool
    statements: tuple[str, ...]
    data: tuple[str, ...]
    locks: tuple[LockPlan, ...] = ()
    statement_count: int = 0
    data_count: int = 0
    unapply: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a statement, or the whole path, cannot be walked, and what to write instead."""

    statement: str
    reason: str
    instead: str


@dataclass(frozen=True, slots=True)
class PathPlan:
    """How those that are on `source` get there. `pooled`: the migrations as pools see them. `tiers` counts targets."""

    source: str
    pooled: bool
    targets: int
    migrations: tuple[MigrationPlan, ...]
    refusals: tuple[Refusal, ...]
    migration_count: int = 0
    tiers: Mapping[str, int] = field(default_factory=dict)
    digest: str = ""


def path_plan(path: ReleasePath, source: str, *, pooled: bool, tiers: Mapping[str, int]) -> PathPlan:
    """See Note [A plan is bounded]. Reads and weighs; asks no server."""
    migrations = path.pool_migrations if pooled else path.migrations
    refusals = [*path.refusals, *(path.pool_refusals if pooled else [])]
    return PathPlan(
        source=source,
        pooled=pooled,
        targets=sum(tiers.values()),
        migrations=tuple(_shown(migrations, statements_per_migration(path, pooled=pooled))),
        refusals=tuple(Refusal(**refusal) for refusal in refusals[:REFUSALS]),
        migration_count=len(migrations),
        tiers=dict(sorted(tiers.items())),
        digest=sha256(json.dumps([migrations, path.rows, refusals], sort_keys=True).encode()).hexdigest(),
    )


def no_path(source: str, refusal: Refusal, *, pooled: bool, tiers: Mapping[str, int]) -> PathPlan:
    """Of those for whom there is none."""
    return PathPlan(source, pooled, sum(tiers.values()), (), (refusal,), 0, dict(sorted(tiers.items())))


def _shown(migrations: list[dict[str, Any]], summaries: list[StepSummary]) -> Iterator[MigrationPlan]:
    room = TEXTS
    for migration, summary in zip(migrations[:MIGRATIONS], summaries, strict=False):
        statements = tuple(islice(_texts(migration, ddl=True), room))
        data = tuple(islice(_texts(migration, ddl=False), room - len(statements)))
        room -= len(statements) + len(data)
        yield MigrationPlan(
            migration=summary.migration,
            atomic=summary.atomic,
            statements=statements,
            data=data,
            locks=_locks(summary.weights),
            statement_count=summary.ddl,
            data_count=summary.dml + summary.python,
            unapply=summary.unapply,
        )


def _texts(migration: Mapping[str, Any], *, ddl: bool) -> Iterator[str]:
    acts = (act for act in migration["acts"] if (act["kind"] == "ddl") == ddl)
    return (cut(act["text"] if ddl else act.get("description") or act["text"]) for act in acts)


def _locks(weights: Iterable[Weight]) -> tuple[LockPlan, ...]:
    """Each once: ten columns of one table are one lock on it, and one reason."""
    locks = (LockPlan(each.table, each.lock, each.rewrites, each.scans, each.why) for each in weights)
    return tuple(dict.fromkeys(locks))[:LOCKS]


def cut(text: str) -> str:
    return text if len(text) <= CHARACTERS else f"{text[: CHARACTERS - 1]}…"
