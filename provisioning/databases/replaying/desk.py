"""The desk that the runner's orders come to: Django, with the target as its `default` database. See runner.py.

# Note [What a process must forget]
Third-party code remembers rows by their ids for as long as its process lives, and here the process outlives the tenant.
So between two targets, and between two tenants of a pool, content types, sites and caches are forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg
from django.apps import apps
from django.core.cache import caches
from django.db import Error, connection, transaction

from provisioning.databases.ddl import GUARD
from provisioning.databases.fingerprint import shape
from provisioning.databases.replaying import sending
from provisioning.databases.replaying.errors import Refusal, Refused
from provisioning.databases.replaying.history import Prepared, prepare
from provisioning.databases.replaying.sessions import APPLICATION
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
        wanted: dict[tuple[str, str], set[int]] = {}
        for app, name, position in job["operations"]:
            wanted.setdefault((app, name), set()).add(position)
        self._prepared = prepare([(app, name) for app, name in job["source"]], job["migrations"], wanted)
        connection.execute_wrappers.append(self._listen)

    def connect(self, database: dict[str, Any], *, pooled: bool) -> None:
        connection.close()
        connection.settings_dict.update(database)
        connection.settings_dict["OPTIONS"] = {
            **SESSION,
            **database["OPTIONS"],
            "options": OPTIONS,
            "application_name": APPLICATION,
        }
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
                cursor.execute(_ENTER, (purpose, UUID(tenant), UUID(incarnation), expires, version, bytes.fromhex(mac)))
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
        except BaseException as error:
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
            connection.run_on_commit.pop(0)[1]()
        if connection.needs_rollback:
            raise transaction.TransactionManagementError("An atomic block was left by an error that nobody passed on.")
    finally:
        connection.autocommit, connection.in_atomic_block, connection.needs_rollback = True, False, False
        connection.savepoint_ids.clear()
        connection.run_on_commit.clear()


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
