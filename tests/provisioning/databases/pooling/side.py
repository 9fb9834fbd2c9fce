"""One application's DDL on two sides: as it stands in a plain schema, and compiled in a pool."""

import re
import secrets
from typing import Any

import psycopg
from psycopg import sql

from provisioning.databases import pooling
from provisioning.databases.fingerprint import shape

ACME, GLOBEX = "aaaaaaaa-0000-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000002"
_ADDRESS = re.compile(r"\(regexp_replace\(.*?\)::inet\) inet_ops( WITH =)?, ")
_OURS = ("policy ",)


class Sides:
    def __init__(self, connection: psycopg.Connection) -> None:
        self.connection = connection
        name = secrets.token_hex(6)
        self.plain, self.pool, self.app = f"plain_{name}", f"pool_{name}", f"app_{name}"
        for schema in (self.plain, self.pool):
            self._run(sql.SQL("CREATE SCHEMA {} AUTHORIZATION tenure_owner").format(sql.Identifier(schema)))
        self._run(sql.SQL("CREATE ROLE {}").format(sql.Identifier(self.app)))

    def run(self, text: str) -> str:
        """Both sides. Returns what ran in the pool."""
        self.run_plain(text)
        compiled = pooling.compiled(text, taken=lambda: pooling.names_in(self.connection, self.pool))
        self.run_pooled(compiled)
        return compiled

    def remove(self) -> None:
        """So that many of them do not fill the catalog."""
        for schema in (self.plain, self.pool):
            self._run(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))
        self._run(sql.SQL("DROP ROLE {}").format(sql.Identifier(self.app)))

    def run_plain(self, text: str) -> None:
        self._as_owner(self.plain, text)

    def run_pooled(self, compiled: str) -> None:
        self._as_owner(self.pool, compiled)

    def shapes(self) -> tuple[list[str], list[str]]:
        """The plain one, and the pool's with the pool's own taken out: equal, if the compiler did well."""
        plain = [line.strip() for line in shape(self.connection, self.plain)]
        pooled = [plainly(line).strip() for line in shape(self.connection, self.pool) if not _is_ours(line)]
        return sorted(map(_without_columns_to_empty, plain)), sorted(pooled)

    def lines(self, beginning: str) -> list[str]:
        """Of the pool's shape."""
        return [line for line in shape(self.connection, self.pool) if line.startswith(beginning)]

    def faults(self) -> list[str]:
        return [fault.code.removeprefix("POOL_") for fault in pooling.faults(self.connection, self.pool)]

    def ask(self, tenant: str, statement: str) -> list[tuple[Any, ...]]:
        """Rows, as the owner in the pool, which its policies hold."""
        with self.connection.transaction():
            self._run(sql.SQL("SET LOCAL ROLE tenure_owner; SET LOCAL search_path = {}").format(sql.SQL(self.pool)))
            self.connection.execute("SELECT set_config('tenure.seal', %s, true)", (tenant,))
            cursor = self.connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def owners(self) -> set[str]:
        """Of the pool's relations."""
        query = "SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE relnamespace = to_regnamespace(%s)"
        return {str(name) for (name,) in self.connection.execute(query, (self.pool,)).fetchall()}

    def _as_owner(self, schema: str, text: str) -> None:
        self._run(sql.SQL("SET ROLE tenure_owner; SET search_path = {}").format(sql.Identifier(schema)))
        try:
            self._run(text)
        finally:
            self._run("RESET ROLE; RESET search_path")

    def _run(self, statement: str | sql.Composed) -> None:
        self.connection.execute(statement.encode() if isinstance(statement, str) else statement)


def _is_ours(line: str) -> bool:
    return line.startswith(_OURS) or bool(re.match(r"column [^:]*\.tenant_id:", line))


def plainly(line: str) -> str:
    """A line of a pool's shape as the plain schema has it."""
    line = _ADDRESS.sub("", line)
    for ours in ("tenant_id, ", "tenant_id WITH =, ", "row security forced", ", security_invoker=true"):
        line = line.replace(ours, "")
    return _without_columns_to_empty(line).replace(" security_invoker=true", "")


def _without_columns_to_empty(line: str) -> str:
    """A plain key empties all of its columns, named or not."""
    return re.sub(r"(ON DELETE SET (?:NULL|DEFAULT)) \([^)]*\)", r"\1", line)
