"""The Django database backend of one tenant: it serves the open scope, or refuses.

The login role is the boundary (it reaches its own schema or database and nothing else); what is refused here is the
application's own mistake, before it becomes a question of rights.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import psycopg
from django.core.exceptions import ImproperlyConfigured
from django.db.backends.postgresql import base

from tenants.context import TenantContext, current
from tenants.errors import WrongTenant
from tenants.isolation import connections, credentials

SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")  # start-up options are one string: no quote or blank may come in
CONNECT_TIMEOUT_S = 5


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection that works only inside the scope of the tenant its alias is named for."""

    opened_for: TenantContext | None = None
    _known: TenantContext | None = None  # the scope that was last found to be ours

    def __init__(self, settings_dict: dict[str, Any], alias: str) -> None:
        super().__init__(settings_dict, alias)
        self._watch_cursors()
        connections.made(self)

    def set_autocommit(
        self,
        autocommit: bool,  # noqa: FBT001  Django's signature
        force_begin_transaction_with_broken_autocommit: bool = False,  # noqa: FBT001, FBT002
    ) -> None:
        """A transaction begins inside its tenant's scope. It may end anywhere: one that cannot end would stay open."""
        if not autocommit:
            self._admit()
        super().set_autocommit(autocommit, force_begin_transaction_with_broken_autocommit)

    def get_connection_params(self) -> dict[str, Any]:
        return self._params(self.scope(), credentials.of(self.scope()))

    def get_new_connection(self, conn_params: dict[str, Any]) -> psycopg.Connection:
        scope = self.scope()
        try:
            connection: psycopg.Connection = super().get_new_connection(conn_params)
        except psycopg.OperationalError as error:
            # Only a server that was reached asks for a password: one that is away is no reason to ask for another.
            if error.pgconn is None or not error.pgconn.used_password:
                raise
            renewed = self._params(scope, credentials.renewed(scope))
            if renewed["password"] == conn_params["password"]:
                raise
            connection = super().get_new_connection(renewed)
        self.opened_for = scope
        self._opened(connection)
        return connection

    def _opened(self, connection: psycopg.Connection) -> None:
        connections.opened(self.alias, connection)

    def _watch_cursors(self) -> None:
        """A cursor that was kept beyond its scope refuses, too."""
        self.execute_wrappers.append(self._execute)

    def _cursor(self, name: str | None = None) -> Any:
        self._admit()
        return super()._cursor(name)  # type: ignore[misc]  # left out of django-stubs

    def _admit(self) -> None:
        """Raises NoTenant or WrongTenant, or makes ready for the open scope."""
        scope = self.scope()
        if not connections.was_last(self):  # else nobody can have opened a transaction since we looked
            for other in connections.wrappers_of_this_thread().values():
                if other.alias != self.alias and other.in_atomic_block:
                    raise WrongTenant("A transaction of another tenant is open in this thread.")
            connections.used(self)
        if self.connection is not None and not self.in_atomic_block and self._is_stale(scope):
            self.close()

    def scope(self) -> TenantContext:
        """The open scope. Raises NoTenant or WrongTenant unless it is ours."""
        scope = current()
        if scope is not self._known:
            if scope.key != self.alias:
                raise WrongTenant(f"The open scope is of {scope.slug}, and this connection belongs to another tenant.")
            self._known = scope
        return scope

    def _is_stale(self, scope: TenantContext) -> bool:
        """Of no use any more, or opened before the tenant moved."""
        return self._has_served() or (self.opened_for is not scope and self.opened_for != scope)

    def _has_served(self) -> bool:
        """Closed to make room for others."""
        return bool(self.connection.closed)

    def _params(self, scope: TenantContext, given: credentials.Credentials) -> dict[str, Any]:
        database = given.database
        if not SCHEMA.fullmatch(database.schema):
            raise ImproperlyConfigured(f"The schema of tenant {scope.slug} has a name that Tenure never gives.")
        return {
            **super().get_connection_params(),
            "host": database.host,
            "port": database.port,
            "dbname": database.name,
            "user": database.user,
            "password": database.password,
            "connect_timeout": CONNECT_TIMEOUT_S,
            "options": f"-c search_path={database.schema} -c timezone=UTC",
        }

    def _execute(self, execute: Callable[..., Any], *arguments: Any) -> Any:
        self.scope()
        return execute(*arguments)
