"""Whether a release can be pooled, found out by doing it: in the scratch database its blueprint was made in.

# Note [Two ways to one shape]
A pool is laid out from the compiled script of the final shape, and brought to later releases by compiled migrations. So
both are tried: every migration of the release is compiled and run in one schema, with the catalog check after each, the
script in another, and the two schemas must have one shape. Sequences stand where they began: rows come per tenant.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

from psycopg import sql

from provisioning.databases.fingerprint import difference, hash_of, shape
from provisioning.databases.pooling.boundary import SHARED_TABLES
from provisioning.databases.pooling.catalog import names_in, views_in
from provisioning.databases.pooling.compiler import compiled, compiled_dump
from provisioning.databases.pooling.errors import CannotPool
from provisioning.databases.pooling.trial import (
    REPORT,
    SAID,
    Refusal,
    as_owner,
    execute,
    inside,
    put_up_guard,
    refuse_faults,
    row,
)
from provisioning.databases.servers import Connection, run
from provisioning.databases.statements import first_words

COMPILER = 4  # its version: when it rises, publishing compiles anew what is published already
# How a statement about rows begins. DO and TRUNCATE are not among them: the compiler has something to say of both.
_ROWS = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE", "COPY", "SELECT", "WITH", "VALUES", "CALL"})


@dataclass(frozen=True, slots=True)
class Pooled:
    """The fields of a Release that say how it is pooled, or why it cannot be; see Release for what each holds."""

    pool_script: str = ""
    pool_fingerprint: str = ""
    pool_shape: list[str] = field(default_factory=list)
    pool_refusals: list[Refusal] = field(default_factory=list)

    def named(self, placeholder: str, other: str) -> "Pooled":
        """The same of a release with another placeholder."""
        return replace(self, pool_script=self.pool_script.replace(placeholder, other))


@dataclass(frozen=True, slots=True)
class _Step:
    """A migration: its texts, each with its compiled form if that depends on nothing else."""

    name: str
    atomic: bool
    texts: list[tuple[str, str | None]] = field(default_factory=list)


def prove(connection: Connection, placeholder: str, script: str, recorded: list[dict[str, Any]]) -> Pooled:
    """Compile a migrated blueprint and run the result in the same, scratch database. Refusals are in what it returns.

    `script` is the final shape as pg_dump wrote it, `recorded` the migrations in order (see RecordedMigration).
    Raises psycopg errors of a server that is in trouble.
    """
    steps, refusals = _compile_all(recorded)
    try:
        pooled_script = compiled_dump(script, placeholder)
    except CannotPool as refusal:
        # What is wrong with the shape was wrong in a migration, in the words of its author; else the dump's must do.
        refusals = refusals or [row(refusal)]
    if refusals:
        return Pooled(pool_refusals=refusals)
    put_up_guard(connection)
    migrated, copied = f"{placeholder}_m", f"{placeholder}_c"
    try:
        with as_owner(connection):
            _migrate(connection, migrated, placeholder, steps)
            with connection.transaction():
                execute(connection, pooled_script.replace(placeholder, copied), "the final shape")
        refuse_faults(connection, copied, "the final shape")
    except CannotPool as refusal:
        return Pooled(pool_refusals=[row(refusal)])
    lines = shape(connection, copied)
    if differing := difference(own(lines), own(shape(connection, migrated))):
        reason = "The compiled migrations and the compiled copy end in different shapes: "
        said = f"{reason}{'; '.join(differing[:SAID])}."
        return Pooled(pool_refusals=[{"statement": "", "reason": said, "instead": REPORT}])
    return Pooled(pooled_script, hash_of(lines), lines)


def _compile_all(recorded: list[dict[str, Any]]) -> tuple[list[_Step], list[Refusal]]:
    """The migrations compiled, and every statement that cannot be pooled, each once."""
    steps = []
    refusals: dict[str, Refusal] = {}
    for migration in recorded:
        step = _Step(f"{migration['app']}.{migration['name']}", migration["atomic"])
        for text in _texts(migration):
            try:
                step.texts.append((text, _compiled_alone(text)))
            except CannotPool as refusal:
                refusals.setdefault(refusal.statement, row(refusal))
        steps.append(step)
    return steps, list(refusals.values())


def _texts(migration: dict[str, Any]) -> Iterator[str]:
    """What has to be compiled. Statements about rows are left out: they have parameters, which no parser reads."""
    for operation in migration["operations"]:
        yield from (text for text in operation["statements"] if not _ROWS.issuperset(first_words(text)))


def _compiled_alone(text: str) -> str | None:
    """None if it has to be compiled again when it is known what is in the schema."""
    asked = False

    def ask() -> tuple[str, ...]:
        nonlocal asked
        asked = True
        return ()

    pooled = compiled(text, taken=ask, views=ask)
    return None if asked else pooled


def _migrate(connection: Connection, schema: str, placeholder: str, steps: list[_Step]) -> None:
    run(connection, sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
    with inside(connection, schema):
        for step in steps:
            with connection.transaction() if step.atomic else nullcontext():
                changed = [_executed(connection, schema, placeholder, *each, step.name) for each in step.texts]
            if any(changed):
                refuse_faults(connection, schema, step.name)


def _executed(  # noqa: PLR0917  one statement and where it belongs
    connection: Connection, schema: str, placeholder: str, text: str, alone: str | None, name: str
) -> bool:
    """Whether there was anything to execute."""
    pooled = alone
    if pooled is None:
        pooled = compiled(text, taken=lambda: names_in(connection, schema), views=lambda: views_in(connection, schema))
    if pooled:
        execute(connection, pooled.replace(placeholder, schema), name)
    return bool(pooled)


def own(lines: list[str]) -> list[str]:
    """Without the shared tables, which no migration makes: Django does, before the first."""
    return [line for line in lines if not line.partition(" ")[2].startswith(tuple(SHARED_TABLES))]
