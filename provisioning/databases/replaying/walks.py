"""A path made ready for walking: its acts in order, divided into the stages that a target stands between.

# Note [Stages]
What is atomic is one stage: the target is on the one release or on the other, never between. A stage ends where a
transaction has to: before and after each act of a migration that is not atomic, and in a pool before and after acts
that run once for each tenant, since ten thousand tenants are more than one transaction should hold. A marker in the
target's database (see markers.py) says how many stages are behind it, and is written in the stage's own transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from itertools import groupby
from typing import Any
from uuid import UUID

from django.db import connection

from provisioning.databases.pooling.syntax import statements
from provisioning.databases.replaying import rows
from provisioning.databases.statements import first_words
from provisioning.models import Release, ReleasePath

Key = tuple[str, str]  # app and name of a migration

# What a commit between two migrations would do: rows are checked now, and the table may be altered after that.
SETTLE = "SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED"
SETTLING = "checking the rows it changed"
CONTENT_TYPES = "content types and permissions"
# How many migrations, and the sum of their hashes: no order is needed, and each replay asks for it.
DIGEST = "count(*) || ':' || coalesce(sum(hashtextextended(name, hashtextextended(app, 0))), 0)"


class Kind(StrEnum):
    """Who runs an act; see ReleasePath."""

    DDL = "ddl"
    DML = "dml"
    PYTHON = "python"


class Way(StrEnum):
    """How a stage is walked: its acts in one transaction; one act outside of any; its acts once for each tenant."""

    TOGETHER = "together"
    ALONE = "alone"
    EACH = "each"


@dataclass(frozen=True, slots=True)
class Act:
    """`position` is the operation's in the migration. In `text` the walk's placeholder stands for the schema."""

    kind: Kind
    text: str
    migration: Key
    position: int
    operation: str
    unapply: bool = False

    @property
    def name(self) -> str:
        return ".".join(self.migration)


Acts = tuple[list[Act], bool]  # of one migration, and whether it is atomic


@dataclass(frozen=True, slots=True)
class Stage:
    way: Way
    acts: tuple[Act, ...]

    @property
    def runs_python(self) -> bool:
        return any(act.kind is Kind.PYTHON for act in self.acts)


@dataclass(frozen=True, slots=True)
class Walk:
    """`source` and `target` are what a target's django_migrations holds at either end, `digests` the same in short.

    `migrations` are (app, name, unapply) in the order they are walked; `arrival` are the statements that end it.
    """

    path: UUID
    placeholder: str
    pooled: bool
    source: frozenset[Key]
    target: frozenset[Key]
    digests: tuple[str, str]
    migrations: tuple[tuple[str, str, bool], ...]
    stages: tuple[Stage, ...]
    arrival: str

    @property
    def at_once(self) -> bool:
        """One transaction takes a target from end to end."""
        return len(self.stages) == 1 and self.stages[0].way is Way.TOGETHER

    def named(self, text: str, schema: str) -> str:
        """See replay's Note [Text is replaced in the script, and nowhere else]."""
        return text.replace(self.placeholder, schema)


@lru_cache(maxsize=8)  # a path never changes
def walk_of(path: ReleasePath, *, pooled: bool) -> Walk:
    """The path for schemas and databases, or for pools."""
    migrations = path.pool_migrations if pooled else path.migrations
    placeholder = path.target.placeholder
    source, target = applied_in(path.source), applied_in(path.target)
    order = [(each["app"], each["name"], bool(each.get("unapply"))) for each in migrations]
    made, before = rows.made_by_post_migrate(path), rows.made_before_python(path)
    each = list(_with_types(migrations, before) if before else map(_of, migrations))
    stages = list(_pooled(each, made) if pooled else _plain(each, made))
    if not stages or stages[-1].way is not Way.TOGETHER:
        stages.append(Stage(Way.TOGETHER, ()))  # there is always a last transaction, in which the target arrives
    return Walk(
        path=path.pk,
        placeholder=placeholder,
        pooled=pooled,
        source=source,
        target=target,
        digests=(digest(source), digest(target)),
        migrations=tuple(order),
        stages=tuple(stages),
        arrival=rows.recorded(source, target, [(app, name) for app, name, _unapply in order]),
    )


def applied_in(release: Release) -> frozenset[Key]:
    """What django_migrations holds in a target that is on the release."""
    tables = [table for table in release.seed if table["table"] == "django_migrations"]
    return frozenset((str(row["app"]), str(row["name"])) for table in tables for row in rows.decoded(table))


def digest(applied: Collection[Key]) -> str:
    """What `DIGEST` makes of these. PostgreSQL reckons it, whose hashes are the same on every server: partitions rely
    on that.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {DIGEST} FROM unnest(%s::text[], %s::text[]) AS applied (app, name)",
            [[app for app, _name in applied], [name for _app, name in applied]],
        )
        return str(cursor.fetchone()[0])


def _with_types(migrations: list[dict[str, Any]], before: str) -> Iterator[Acts]:
    """The same, with the new content types before the first act that is Python."""
    for migration in migrations:
        acts, atomic = _of(migration)
        for number, act in enumerate(acts):
            if before and act.kind is Kind.PYTHON:
                acts.insert(number, replace(act, kind=Kind.DML, text=before, operation=CONTENT_TYPES))
                before = ""
                break
        yield acts, atomic


def _of(migration: dict[str, Any]) -> Acts:
    return list(_acts(migration)), bool(migration["atomic"])


def _plain(migrations: list[Acts], made: str) -> Iterator[Stage]:
    together: list[Act] = []
    for acts, atomic in migrations:
        if atomic:
            together += acts
            continue
        if together:
            yield Stage(Way.TOGETHER, tuple(together))
            together = []
        for act in _unsettled(acts):
            yield Stage(Way.ALONE if _stands_alone(act) else Way.TOGETHER, (act,))
    if made:
        together.append(_last(made))
    if together:
        yield Stage(Way.TOGETHER, tuple(together))


def _pooled(migrations: list[Acts], made: str) -> Iterator[Stage]:
    """DDL as the owner; whatever is about rows once for each tenant, as that tenant."""
    acts = [(act, atomic) for several, atomic in migrations for act in _unsettled(several)]
    if made:
        acts.append((_last(made), True))
    numbered = enumerate(acts)
    for (way, _own), group in groupby(numbered, lambda each: _way(each[0], *each[1])):
        yield Stage(way, tuple(act for _number, (act, _atomic) in group))


def _way(number: int, act: Act, atomic: bool) -> tuple[Way, int | None]:  # noqa: FBT001  the migration's
    """How an act of a pool is walked, and what keeps it apart from its neighbours."""
    if act.kind is not Kind.DDL:
        return Way.EACH, None
    if not atomic:
        return (Way.ALONE if _stands_alone(act) else Way.TOGETHER), number
    return Way.TOGETHER, None


def _acts(migration: dict[str, Any]) -> Iterator[Act]:
    key, unapply = (migration["app"], migration["name"]), bool(migration.get("unapply"))
    about_rows = False
    for act in migration["acts"]:
        kind = Kind(act["kind"])
        about_rows |= kind is not Kind.DDL
        yield Act(kind, act.get("text") or "", key, act.get("position") or 0, act.get("operation") or "", unapply)
    if about_rows:
        yield Act(Kind.DDL, SETTLE, key, len(migration["acts"]), SETTLING, unapply)


def _unsettled(acts: Iterable[Act]) -> Iterator[Act]:
    """Where each act, or each tenant, settles what it did by itself."""
    return (act for act in acts if act.text != SETTLE)


def _last(made: str) -> Act:
    return Act(Kind.DML, made, ("", CONTENT_TYPES), 0, CONTENT_TYPES)


def _stands_alone(act: Act) -> bool:
    """PostgreSQL refuses it inside a transaction."""
    if act.kind is not Kind.DDL:
        return False
    if "concurrently" in act.text.lower():
        return any(
            getattr(each.node, "concurrent", False) or each.kind == "reindex_stmt" for each in statements(act.text)
        )
    return "VACUUM" in first_words(act.text)
