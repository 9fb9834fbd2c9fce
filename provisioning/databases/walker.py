"""Take a copy of one release to the migrations of another, with Django itself, and tell what it sent to PostgreSQL.

Run as a program, as recorder.py is; see there why in a process of its own. Backwards by Django's own unapplying.
Tells `migrated`, `unapplied`, `refused` (nothing was run then), and `rows`: what post_migrate added.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from django.db import connection
from django.db.migrations import Migration, RunSQL
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.models import signals
from psycopg import sql

from provisioning.databases.recorder import (
    Job,
    Plan,
    Recorder,
    announce,
    configs,
    finish,
    followed,
    main,
    state_of,
)

Emit = Callable[[dict[str, Any]], None]
Key = tuple[str, str]

_ONE_WAY = "Roll forward with a new migration instead, or give it a way back and publish again."
_NOT_INSTALLED = "Install the release of the application that has it, or choose another release."
_RENAME = (
    "UPDATE django_content_type SET model = {new} WHERE app_label = {app} AND model = {old} AND NOT EXISTS"
    " (SELECT FROM django_content_type WHERE app_label = {app} AND model = {new})"
)


class NoWay(Exception):
    """The walk is refused before anything was run."""

    def __init__(self, statement: str, reason: str, instead: str) -> None:
        super().__init__(reason)
        self.event = {"event": "refused", "statement": statement, "reason": reason, "instead": instead}


def walk(job: Job, emit: Emit) -> None:
    """First back, then on: two releases of different branches have migrations that the other lacks."""
    tenant_apps = configs(job)
    recorder = Recorder(emit)
    executor = MigrationExecutor(connection, recorder.progress)
    before = set(executor.recorder.applied_migrations())
    try:
        back, on = _plans(executor, _nodes(executor.loader, {(app, name) for app, name in job.wanted}))
        _refuse_irreversible(back)
    except NoWay as refusal:
        emit(refusal.event)
        return
    recorder.total = len(back) + len(on)
    plan: Plan = []
    state = None
    with followed(recorder):
        for keys in filter(None, (back, on)):
            recorder.current = None
            executor = executor if state is None else MigrationExecutor(connection, recorder.progress)
            plan = [(executor.loader.graph.nodes[_key(step)], backwards) for step, backwards in keys]  # it runs its own
            written = {id(each): index for step, _back in plan for index, each in enumerate(step.operations)}
            state = state_of(executor)
            announce(signals.pre_migrate, tenant_apps, plan=plan, apps=state.apps)
            _take_in(recorder, plan, written)
            state = executor.migrate([], plan=plan, state=state)
    executor.check_replacements()
    _settle(job, executor, before, [*back, *on], emit)
    rows = _rows(job.schema)
    finish(recorder, tenant_apps, plan, state or state_of(executor))
    emit({"event": "rows", "rows": added(rows, _rows(job.schema))})


def _nodes(loader: MigrationLoader, wanted: set[Key]) -> set[Key]:
    """The nodes of Django's graph that stand for these migrations. One that is squashed by now is a part of a node."""
    squashes = {part: key for key, squash in loader.replacements.items() for part in map(tuple, squash.replaces)}
    found: set[Key] = set()
    waiting = list(wanted)
    while waiting:
        key = waiting.pop()
        if key in loader.graph.nodes:
            found.add(key)
        elif key in loader.replacements:  # its parts are applied in part, so Django goes by them
            waiting += [(app, name) for app, name in loader.replacements[key].replaces]
        elif (squash := squashes.get(key)) is None:
            raise NoWay(_named(key), f"The migration {_named(key)} is not installed.", _NOT_INSTALLED)
        elif squash in wanted or wanted.issuperset(map(tuple, loader.replacements[squash].replaces)):
            waiting.append(squash)
        else:
            raise NoWay(_named(key), f"{_named(squash)} has squashed it with later ones.", _ONE_WAY)
    return found


def _plans(executor: MigrationExecutor, wanted: set[Key]) -> tuple[Plan, Plan]:
    """What is to be unapplied and what is to be applied, in Django's own order."""
    graph = executor.loader.graph
    applied = {key for key in executor.loader.applied_migrations if key in graph.nodes}
    whole = [(step, _key(step)) for step, _back in executor.migration_plan(graph.leaf_nodes(), clean_start=True)]
    back = [(step, True) for step, key in reversed(whole) if key in applied - wanted]
    return back, [(step, False) for step, key in whole if key in wanted - applied]


def _refuse_irreversible(back: Plan) -> None:
    for step, _back in back:
        for operation in step.operations:
            if not _reversible(operation):
                said = f"{step}: {type(operation).__name__} cannot be taken back: {operation.describe()}."
                raise NoWay(f"{step}: {type(operation).__name__}", said, _ONE_WAY)


def _reversible(operation: Operation) -> bool:
    """Django asks a SeparateDatabaseAndState itself, and fails at what is inside."""
    return operation.reversible and all(map(_reversible, getattr(operation, "database_operations", ())))


def _take_in(recorder: Recorder, plan: Plan, written: dict[int, int]) -> None:
    """Say where each operation stands in its migration as it is written, whatever signal handlers have put in between.

    Django puts a renaming of the content type after each RenameModel, in Python: that is one statement.
    """
    for step, _back in plan:
        place = 0
        taken_in: list[Operation] = []
        for operation in step.operations:
            place = written.get(id(operation), place)
            taken_in.append(operation if id(operation) in written else _in_sql(operation))
            recorder.places[id(taken_in[-1])] = place
        cast("list[Operation]", step.operations)[:] = taken_in  # a list of this migration's own


def _in_sql(operation: Any) -> RunSQL:
    if type(operation).__name__ != "RenameContentType":
        raise SystemExit(f"A handler of pre_migrate adds {type(operation).__name__}, which no other tenant would get.")
    old, new = operation.old_model, operation.new_model
    return RunSQL(_renaming(operation.app_label, old, new), _renaming(operation.app_label, new, old))


def _renaming(app: str, old: str, new: str) -> str:
    literals = {"app": sql.Literal(app), "old": sql.Literal(old), "new": sql.Literal(new)}
    return sql.SQL(_RENAME).format(**literals).as_string()


def _settle(job: Job, executor: MigrationExecutor, before: set[Key], plan: Plan, emit: Emit) -> None:
    """Rows of django_migrations that come and go without an operation: those of squashed migrations."""
    kept = {(app, name) for app, name in job.kept}
    by_plan = {key for step, _back in plan for key in (_key(step), *map(tuple, step.replaces))}
    there = set(executor.recorder.applied_migrations())
    for key in sorted(kept - there):
        executor.recorder.record_applied(*key)
    gone = {key for key in there - kept if key in executor.loader.replacements}
    for key in sorted(gone):
        executor.recorder.record_unapplied(*key)
    for kind, keys in (("unapplied", gone & before), ("migrated", (there | kept) - gone - before - by_plan)):
        for app, name in sorted(keys):
            emit({"event": kind, "app": app, "name": name, "atomic": True, "replaces": [], "operations": []})


def _rows(schema: str) -> list[dict[str, Any]]:
    from provisioning.databases.dump import rows_of_tables  # reads settings

    return rows_of_tables(connection.connection, schema)


def added(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is in the rows of tables after, and was not there before."""
    former = {table["table"]: set(table["copy"].split("\n")) for table in before}
    found = []
    for table in after:
        lines = [line for line in table["copy"].split("\n") if line and line not in former.get(table["table"], ())]
        if lines:
            found.append({**table, "rows": len(lines), "copy": "".join(f"{line}\n" for line in lines)})
    return found


def _key(step: Migration) -> Key:
    return step.app_label, step.name


def _named(key: Key) -> str:
    return ".".join(key)


if __name__ == "__main__":
    main(walk)
