"""Run the Python of a release's migrations in one target after the other, with Django itself.

Run as a program: `python -m provisioning.databases.replaying.runner`. One JSON object a line comes in on stdin and is
answered by one on stdout: `{"ok": …}`, `{"refused": …}` (a Refusal), or `{"missing": "app.name"}`. Orders:

- `start`: settings and apps, and once for all targets which operations will be run. See recorder's Note [Migrations run
  in a process of their own]: in here `default` is the target.
- `connect`, `hang up`: a database. `send`, `enter`, `lines`, `roll back`: as `sessions.Session`.
- `python`: an operation, in the transaction that `send` has begun. Nothing is committed but by a `send` that says so:
  when whoever gives the orders is gone, so is the transaction.

# Note [What a process must forget]
Third-party code remembers rows by their ids for as long as its process lives, and here the process outlives the tenant.
So between two targets, and between two tenants of a pool, content types, sites and caches are forgotten.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO
from uuid import UUID

import django
import psycopg
from django.apps import apps
from django.conf import settings
from django.core.cache import caches
from django.db import Error, connection, transaction

from provisioning.databases.ddl import GUARD
from provisioning.databases.fingerprint import shape
from provisioning.databases.replaying import sending
from provisioning.databases.replaying.errors import Refusal, Refused
from provisioning.databases.replaying.history import NotInstalled, Prepared, prepare
from provisioning.databases.servers import OPTIONS, SESSION
from tenants.isolation.db.pooled.conflict import pooled_query

_ENTER = f"SELECT {GUARD}.enter(%s, %s, %s, %s, %s, %s)"


class Desk:
    """Takes orders. Every method is one of them, and what it returns is the answer."""

    def __init__(self) -> None:
        self._prepared: dict[tuple[str, str, int], Prepared] = {}
        self._last_statement = ""
        self._pooled = False

    def start(self, job: dict[str, Any]) -> None:
        _configure(job)
        wanted: dict[tuple[str, str], set[int]] = {}
        for app, name, position in job["operations"]:
            wanted.setdefault((app, name), set()).add(position)
        self._prepared = prepare([(app, name) for app, name in job["source"]], job["migrations"], wanted)
        connection.execute_wrappers.append(self._listen)

    def connect(self, database: dict[str, Any], *, pooled: bool) -> None:
        connection.close()
        connection.settings_dict.update(database)
        connection.settings_dict["OPTIONS"] = {**SESSION, **database["OPTIONS"], "options": OPTIONS}
        self._pooled = pooled
        # As the pooled backend has it: a key is (tenant_id, id) there.
        connection.features.allows_group_by_selected_pks = not pooled
        self._raw.execute("SELECT 1")

    def hang_up(self) -> None:
        connection.close()

    def send(self, text: str) -> str | None:
        return sending.send(self._raw, text)

    def enter(self, ticket: list[Any]) -> None:
        purpose, tenant, incarnation, expires, version, mac = ticket
        try:
            with self._raw.cursor() as cursor:
                cursor.execute(
                    _ENTER, (purpose, UUID(tenant), UUID(incarnation), expires, version, bytes.fromhex(mac))
                )
        except psycopg.Error as error:
            raise Refused(Refusal.of(error)) from error
        _forget(self._prepared.values())

    def python(self, app: str, name: str, position: int) -> None:
        if not self._pooled:
            _forget(self._prepared.values())
        self._last_statement = ""
        try:
            with _in_the_open_transaction(), connection.schema_editor(atomic=False) as editor:
                self._prepared[app, name, position].run(editor)
        except BaseException as error:  # noqa: BLE001  a migration may raise anything; the process lives on
            raise Refused(Refusal.of(error, statement=self._last_statement)) from error

    def lines(self, schema: str) -> list[str]:
        return shape(self._raw, schema)

    def roll_back(self) -> None:
        if connection.connection is not None:
            sending.roll_back(connection.connection)
            if connection.connection.closed:
                connection.close()

    @property
    def _raw(self) -> Any:
        try:
            connection.ensure_connection()
        except Error as error:
            raise Refused(Refusal.of(error)) from error
        return connection.connection

    def _listen(self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:  # noqa: FBT001
        """Django's execute wrapper. A statement is remembered without its parameters: those are rows."""
        self._last_statement = str(sql)
        return execute(pooled_query(sql, context["cursor"].cursor) if self._pooled else sql, params, many, context)


@contextmanager
def _in_the_open_transaction() -> Iterator[None]:
    """Django knows that a transaction is open, which was begun behind its back; nested blocks are savepoints in it.

    What is put off until the commit is done at the end of the block: the commit is not Django's.
    """
    connection.autocommit, connection.in_atomic_block, connection.needs_rollback = False, True, False
    try:
        yield
        while connection.run_on_commit:
            _savepoints, act, _robust = connection.run_on_commit.pop(0)
            act()
        if connection.needs_rollback:
            raise transaction.TransactionManagementError("An atomic block was left by an error that nobody passed on.")
    finally:
        connection.autocommit, connection.in_atomic_block, connection.needs_rollback = True, False, False
        connection.savepoint_ids.clear()
        connection.run_on_commit.clear()


def _configure(job: dict[str, Any]) -> None:
    """The installation's own settings, with the target as the only database and a cache that nobody shares."""
    os.environ["DJANGO_SETTINGS_MODULE"] = job["settings_module"]
    settings.DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "nowhere"}}
    settings.DATABASE_ROUTERS = []
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    settings.INSTALLED_APPS = job["installed_apps"]
    django.setup()


def _forget(prepared: Iterable[Prepared]) -> None:
    """See Note [What a process must forget]."""
    registries = [apps, *(state.apps for each in prepared for state in (each.before, each.after))]
    for registry in registries:
        for label, model in (("contenttypes", "contenttype"), ("sites", "site")):
            try:
                manager = registry.get_model(label, model).objects
            except LookupError:
                continue
            if hasattr(manager, "clear_cache"):
                manager.clear_cache()
    caches["default"].clear()


def main(orders: TextIO, answers: TextIO) -> None:
    """Until the orders end."""
    desk = Desk()
    for line in orders:
        order = json.loads(line)
        act = getattr(desk, order.pop("do").replace(" ", "_"))
        try:
            answer: dict[str, Any] = {"ok": act(**order)}
        except Refused as refused:
            answer = {"refused": refused.refusal.as_json()}
        except NotInstalled as missing:
            answer = {"missing": str(missing)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    channel = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # migrations may print; our lines must stay ours
    main(sys.stdin, channel)
