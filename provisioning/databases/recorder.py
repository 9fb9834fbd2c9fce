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
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, TextIO

import django
from django.apps import AppConfig, apps
from django.conf import settings
from django.db import connection
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.operations.base import Operation
from django.db.migrations.operations.special import RunPython
from django.db.migrations.state import ModelState
from django.db.models import signals

from provisioning.databases.pinning import pin
from provisioning.databases.statements import Kind, first_words, kind_of

_TRANSACTION_CONTROL = ("SAVEPOINT", "RELEASE", "ROLLBACK", "BEGIN", "COMMIT")
DEFERRED = "end of migration"  # what Django puts off until every operation has run, foreign keys mostly; and our pins


@dataclass(frozen=True, slots=True)
class Job:
    """What to migrate where. `database` is a DATABASES entry without its engine; `schema` exists and is empty."""

    settings_module: str
    installed_apps: list[str]
    tenant_apps: list[str]
    database: dict[str, Any]
    schema: str
    role: str


@dataclass(slots=True)
class RecordedOperation:
    """`position` is the index in `Migration.operations`, or its length for what Django defers to the end."""

    position: int
    operation: str
    description: str
    kind: Kind = Kind.SCHEMA
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

    def progress(self, action: str, migration: Migration | None = None, _fake: bool | None = None, /) -> None:  # noqa: FBT001
        """The executor's callback."""
        if action == "apply_start" and migration is not None:
            self.migration, self.operations = migration, []
            # From here until the next operation begins, what arrives is deferred SQL.
            self.current = RecordedOperation(len(migration.operations), DEFERRED, "")
            self._follow(migration, self.current)
            self.emit({"event": "begins", "migration": str(migration), "done": self.done, "total": self.total})
        elif action == "apply_success" and migration is not None:
            self.done += 1
            if self.current is not None:
                with connection.cursor() as cursor:  # whoever replays the migration must pin what it makes, too
                    self.current.statements += pin(cursor)
            self._keep(self.current)
            self.emit(
                {
                    "event": "migrated",
                    "app": migration.app_label,
                    "name": migration.name,
                    "atomic": migration.atomic,
                    "replaces": [list(each) for each in migration.replaces],
                    "operations": [asdict(each) for each in self.operations],
                }
            )

    def __call__(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:  # noqa: FBT001
        """Django's execute wrapper."""
        if self.current is not None and self._counts(sql):
            self.current.statements.append(sql)
        return execute(sql, params, many, context)

    def _counts(self, sql: str) -> bool:
        """Leave out savepoints, Django's look-ups in the catalog, and its own row in django_migrations."""
        if self.deliberate or (self.current is not None and self.current.kind is Kind.DATA):
            return not all(word in _TRANSACTION_CONTROL for word in first_words(sql))
        return (
            self.current is not None
            and self.current.operation != DEFERRED
            and not sql.lstrip().upper().startswith((*_TRANSACTION_CONTROL, "SELECT", "SHOW"))
        )

    def _follow(self, migration: Migration, between: RecordedOperation) -> None:
        for position, operation in enumerate(migration.operations):
            self._wrap(operation, position, between)

    def _wrap(self, operation: Operation, position: int, between: RecordedOperation) -> None:
        """Instances belong to this process's loader alone, so replacing a method on them reaches nobody else."""
        forwards = operation.database_forwards

        def recorded(*arguments: Any) -> None:
            name = type(operation).__name__
            self.current = RecordedOperation(position, name, operation.describe())
            if _runs_python(operation):
                self.current.kind = Kind.DATA
            forwards(*arguments)
            self._keep(self.current)
            self.current = between

        operation.database_forwards = recorded  # type: ignore[method-assign,assignment]  # passed on as it comes

    def _keep(self, operation: RecordedOperation | None) -> None:
        if operation is None:
            return
        if operation.kind is not Kind.DATA:
            operation.kind = kind_of(operation.statements)
        if operation.statements or operation.kind is Kind.DATA:
            self.operations.append(operation)


def _runs_python(operation: Operation) -> bool:
    """Also when it hides in a SeparateDatabaseAndState."""
    return isinstance(operation, RunPython) or any(
        _runs_python(inner) for inner in getattr(operation, "database_operations", ())
    )


def migrate(job: Job, emit: Callable[[dict[str, Any]], None]) -> None:
    """Bring the empty schema to the newest state of the tenant's apps, as `manage.py migrate` would."""
    tenant_apps = [apps.get_app_config(_label(name)) for name in job.tenant_apps]
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
    connection.SchemaEditorClass = _telling(connection.SchemaEditorClass, recorder)
    state = executor._create_project_state(with_applied_migrations=True)  # type: ignore[attr-defined]  # noqa: SLF001  as django's migrate
    _announce(signals.pre_migrate, tenant_apps, plan=plan, apps=state.apps)
    with connection.execute_wrapper(recorder):
        state = executor.migrate(targets, plan=plan, state=state.clone())
    # As django's migrate does: models of apps without migrations get their relations from the final state.
    state.clear_delayed_apps_cache()
    real = [(model.app_label, model.name_lower) for model in state.apps.real_models]
    with state.apps.bulk_update():
        for key in real:
            state.apps.unregister_model(*key)
    state.apps.render_multiple([ModelState.from_model(apps.get_model(*key)) for key in real])
    done = {"done": recorder.total, "total": recorder.total}
    emit({"event": "begins", "migration": "content types and permissions", **done})
    _announce(signals.post_migrate, tenant_apps, plan=plan, apps=state.apps)
    with connection.cursor() as cursor:
        pin(cursor)


def _announce(signal: Any, tenant_apps: Iterable[AppConfig], **details: Any) -> None:
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


def _label(name: str) -> str:
    """The label of an entry of INSTALLED_APPS: a module, or the path of an AppConfig."""
    return AppConfig.create(name).label


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


def main(stdin: TextIO, out: TextIO) -> None:
    """An error ends the process with its traceback on stderr; the parent knows the place from the last line it read."""

    def emit(event: dict[str, Any]) -> None:
        out.write(json.dumps(event) + "\n")
        out.flush()

    job = Job(**json.load(stdin))
    configure(job)
    migrate(job, emit)
    emit({"event": "done"})


if __name__ == "__main__":
    channel = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # migrations may print; our lines must stay ours
    main(sys.stdin, channel)
