"""Migrate the tenant application into an empty schema with Django itself, and tell what it sent to PostgreSQL.

Run as a program: `python -m provisioning.databases.recorder`, a job as JSON on stdin, one JSON object a line on stdout.

# Note [Migrations run in a process of their own]
Data migrations and signal handlers of third-party apps say `Model.objects.create(…)` or `from django.db import
connection`, which always means the alias `default`. So in this process `default` *is* the blueprint: no router or
thread-local can be forgotten, and the control database is not even configured. All apps stay installed, because models
may import what belongs to the control plane; only TENANT_APPS are migrated and told of it, so content types and
permissions of the others never reach a tenant.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import django
from django.apps import AppConfig, apps
from django.conf import settings
from django.db import connection
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.operations.base import Operation
from django.db.migrations.operations.special import RunPython
from django.db.migrations.state import ModelState, ProjectState
from django.db.models import signals

from provisioning.databases.pinning import pin
from provisioning.databases.statements import Kind, first_words, kind_of

_TRANSACTION_CONTROL = ("SAVEPOINT", "RELEASE", "ROLLBACK", "BEGIN", "COMMIT")
Plan = list[tuple[Migration, bool]]  # each with whether it is walked backwards

DEFERRED = "end of migration"  # what Django puts off until every operation has run, foreign keys mostly; and our pins


@dataclass(frozen=True, slots=True)
class Job:
    """What to migrate where. `database` is a DATABASES entry without its engine; `schema` exists and is empty.

    For a walk (see walker.py) the schema holds a copy of a release instead: `wanted` are the migrations to end with,
    `kept` the rows of django_migrations that they leave, both as [app, name].
    """

    settings_module: str
    installed_apps: list[str]
    tenant_apps: list[str]
    database: dict[str, Any]
    schema: str
    role: str
    wanted: list[list[str]] = field(default_factory=list)
    kept: list[list[str]] = field(default_factory=list)


@dataclass(slots=True)
class RecordedOperation:
    """`position` is the index in `Migration.operations`, or its length for what Django defers to the end.

    `python`: it is Python that runs, and what it sends depends on the rows it finds.
    """

    position: int
    operation: str
    description: str
    kind: Kind = Kind.SCHEMA
    python: bool = False
    statements: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Recorder:
    """Follows one executor: which migration and operation is at work, and what reaches the cursor meanwhile."""

    emit: Callable[[dict[str, Any]], None]
    total: int = 0
    done: int = 0
    migration: Migration | None = None
    operations: list[RecordedOperation] = field(default_factory=list)
    current: RecordedOperation | None = None
    deliberate: bool = False
    put_off: list[str] = field(default_factory=list)  # by Python, to the end of the migration
    places: dict[int, int] = field(default_factory=dict)  # by id(operation), where it is not its index

    def progress(self, action: str, migration: Migration | None = None, _fake: bool | None = None, /) -> None:  # noqa: FBT001
        """The executor's callback."""
        if action in {"apply_start", "unapply_start"} and migration is not None:
            self.migration, self.operations = migration, []
            # From here until the next operation begins, what arrives is deferred SQL.
            self.current = RecordedOperation(len(migration.operations), DEFERRED, "")
            self._follow(migration, self.current)
            self.emit({"event": "begins", "migration": str(migration), "done": self.done, "total": self.total})
        elif action in {"apply_success", "unapply_success"} and migration is not None:
            self.done += 1
            if self.current is not None:
                with connection.cursor() as cursor:  # whoever replays the migration must pin what it makes, too
                    self.current.statements += pin(cursor)
            self._keep(self.current)
            self.emit(
                {
                    "event": "migrated" if action == "apply_success" else "unapplied",
                    "app": migration.app_label,
                    "name": migration.name,
                    "atomic": migration.atomic,
                    "replaces": [list(each) for each in migration.replaces],
                    "operations": [asdict(each) for each in self.operations],
                }
            )

    def __call__(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:  # noqa: FBT001
        """Django's execute wrapper."""
        if self.current is not None and self.current.operation == DEFERRED and sql in self.put_off:
            self.put_off.remove(sql)
        elif self.current is not None and self._counts(sql):
            self.current.statements += [sql] if self.current.python else _whole(sql, params, many=many)
        return execute(sql, params, many, context)

    def _counts(self, sql: str) -> bool:
        """Leave out savepoints, Django's look-ups in the catalog, and its own row in django_migrations."""
        if self.deliberate or (self.current is not None and self.current.python):
            return not all(word in _TRANSACTION_CONTROL for word in first_words(sql))
        return (
            self.current is not None
            and self.current.operation != DEFERRED
            and not sql.lstrip().upper().startswith((*_TRANSACTION_CONTROL, "SELECT", "SHOW"))
        )

    def _follow(self, migration: Migration, between: RecordedOperation) -> None:
        for index, operation in enumerate(migration.operations):
            for direction in ("database_forwards", "database_backwards"):
                self._wrap(operation, direction, self.places.get(id(operation), index), between)

    def _wrap(self, operation: Operation, direction: str, position: int, between: RecordedOperation) -> None:
        """Instances belong to this process's loader alone, so replacing a method on them reaches nobody else."""
        run = getattr(operation, direction)

        def recorded(*arguments: Any) -> None:
            name = type(operation).__name__
            self.current = RecordedOperation(position, name, operation.describe())
            editor: BaseDatabaseSchemaEditor = arguments[1]
            before = len(editor.deferred_sql)
            if _runs_python(operation, direction):
                self.current.kind, self.current.python = Kind.DATA, True
            run(*arguments)
            if self.current.python:  # what Python puts off comes again whenever it is run again
                put_off = [str(text) for text in editor.deferred_sql[before:]]
                self.current.statements += put_off
                self.put_off += put_off
            self._keep(self.current)
            self.current = between

        setattr(operation, direction, recorded)

    def _keep(self, operation: RecordedOperation | None) -> None:
        if operation is None:
            return
        if not operation.python:
            operation.kind = kind_of(operation.statements)
        if operation.statements or operation.python:
            self.operations.append(operation)


def _runs_python(operation: Operation, direction: str) -> bool:
    """Also when it hides in a SeparateDatabaseAndState. Python that does nothing in this direction is none."""
    if isinstance(operation, RunPython):
        code = operation.code if direction == "database_forwards" else operation.reverse_code
        return code is not RunPython.noop
    inside = getattr(operation, "database_operations", None)
    if inside is None:
        return not operation.reduces_to_sql
    return any(_runs_python(each, direction) for each in inside)


def _whole(sql: str, params: Any, *, many: bool) -> Iterator[str]:
    """What the server will read, each time it is sent: whoever replays it has the text alone."""
    for each in params if many else (params,):
        yield sql if each is None else connection.ops.compose_sql(sql, each)  # type: ignore[attr-defined]  # PostgreSQL's


def migrate(job: Job, emit: Callable[[dict[str, Any]], None]) -> None:
    """Bring the empty schema to the newest state of the tenant's apps, as `manage.py migrate` would."""
    tenant_apps = configs(job)
    labels = {app.label for app in tenant_apps}
    recorder = Recorder(emit)
    executor = MigrationExecutor(connection, recorder.progress)
    if without := [app.name for app in tenant_apps if app.label in executor.loader.unmigrated_apps and app.models]:
        raise SystemExit(
            f"{', '.join(without)}: has models but no migrations. Make them with `manage.py makemigrations`."
        )
    targets = [key for key in executor.loader.graph.leaf_nodes() if key[0] in labels]
    plan = executor.migration_plan(targets)
    if outside := {migration.app_label for migration, _backwards in plan} - labels:
        raise SystemExit(
            f"Migrations of the tenant's apps depend on {', '.join(sorted(outside))}. Add it to TENANT_APPS."
        )
    recorder.total = len(plan)
    with followed(recorder):
        state = state_of(executor)
        announce(signals.pre_migrate, tenant_apps, plan=plan, apps=state.apps)
        state = executor.migrate(targets, plan=plan, state=state.clone())
    finish(recorder, tenant_apps, plan, state)


def state_of(executor: MigrationExecutor) -> ProjectState:
    """What is applied now, as Django's migrate asks for it."""
    state: ProjectState = executor._create_project_state(with_applied_migrations=True)  # type: ignore[attr-defined]  # noqa: SLF001
    return state


def finish(recorder: Recorder, tenant_apps: list[AppConfig], plan: Plan, state: ProjectState) -> None:
    """What follows the migrations: content types, permissions, and whatever else waits for post_migrate."""
    # As django's migrate does: models of apps without migrations get their relations from the final state.
    state.clear_delayed_apps_cache()
    real = [(model.app_label, model.name_lower) for model in state.apps.real_models]
    with state.apps.bulk_update():
        for key in real:
            state.apps.unregister_model(*key)
    state.apps.render_multiple([ModelState.from_model(apps.get_model(*key)) for key in real])
    done = {"done": recorder.total, "total": recorder.total}
    recorder.emit({"event": "begins", "migration": "content types and permissions", **done})
    announce(signals.post_migrate, tenant_apps, plan=plan, apps=state.apps)
    with connection.cursor() as cursor:
        pin(cursor)


@contextmanager
def followed(recorder: Recorder) -> Iterator[None]:
    """Inside, the recorder hears what this process sends."""
    usual = connection.SchemaEditorClass
    connection.SchemaEditorClass = _telling(usual, recorder)
    with connection.execute_wrapper(recorder):
        yield
    connection.SchemaEditorClass = usual


def configs(job: Job) -> list[AppConfig]:
    """Of the tenant's apps, in order."""
    return [apps.get_app_config(AppConfig.create(name).label) for name in job.tenant_apps]


def announce(signal: Any, tenant_apps: Iterable[AppConfig], **details: Any) -> None:
    for app in tenant_apps:
        if app.models_module is not None:
            signal.send(sender=app, app_config=app, verbosity=0, interactive=False, using="default", **details)


def _telling(editor: type[BaseDatabaseSchemaEditor], recorder: Recorder) -> type[BaseDatabaseSchemaEditor]:
    """The backend's schema editor, telling the recorder what it executes on purpose (not what it looks up)."""

    def execute(self: Any, *arguments: Any, **options: Any) -> Any:
        recorder.deliberate = True
        try:
            return editor.execute(self, *arguments, **options)
        finally:
            recorder.deliberate = False

    return type(editor.__name__, (editor,), {"execute": execute})


def configure(job: Job) -> None:
    """The installation's own settings, with the blueprint as the only database and a cache that nobody shares."""
    os.environ["DJANGO_SETTINGS_MODULE"] = job.settings_module
    options = f"-c role={job.role} -c search_path={job.schema} -c timezone=UTC"
    settings.DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            **job.database,
            "OPTIONS": {**job.database["OPTIONS"], "options": options},
        }
    }
    settings.DATABASE_ROUTERS = []
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    settings.INSTALLED_APPS = job.installed_apps
    django.setup()


def main(work: Callable[[Job, Callable[[dict[str, Any]], None]], None]) -> None:
    """An error ends the process with its traceback on stderr; the parent knows the place from the last line it read."""
    channel = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # migrations may print; our lines must stay ours

    def emit(event: dict[str, Any]) -> None:
        channel.write(json.dumps(event) + "\n")
        channel.flush()

    job = Job(**json.load(sys.stdin))
    configure(job)
    work(job, emit)
    emit({"event": "done"})


if __name__ == "__main__":
    main(migrate)
