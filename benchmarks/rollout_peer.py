"""The rollout benchmark's rival: a django-tenants project with as many schemas as we have, and its own command."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import psycopg
from psycopg import sql
from tqdm import tqdm

from benchmarks import ledger
from benchmarks.onboarding import ROOT
from benchmarks.onboarding_steps import plain_script

BASE = "peer_number_0"
APPLIED = "SELECT count(*) FROM {}.django_migrations WHERE app = 'ledger'"
ROWS = "INSERT INTO {} (subject, amount) SELECT 'Entry ' || n, n % 90 + 9.99 FROM generate_series(1, {}) AS n"


@dataclass
class Peer:
    """`url` is its database, as the superuser. `variables` are what its settings read."""

    url: str
    variables: dict[str, str]
    schemas: list[str] = field(default_factory=list)

    def furnish(self, number: int, rows: int) -> None:
        """The first schema by django-tenants itself, the others by replaying `pg_dump` of it."""
        self._run(ledger.FIRST, "benchmarks.peer.creating", said=f"{BASE}\n")
        script, base = plain_script(self.url, BASE)
        self.schemas = [BASE, *(f"peer_copy_{each}" for each in range(1, number))]
        with psycopg.connect(self.url, autocommit=True) as connection:
            for schema in tqdm(self.schemas, desc="schemas of django-tenants", disable=None):
                with connection.transaction():
                    if schema != BASE:
                        connection.execute(sql.SQL(script.replace(base, schema)))
                        connection.execute("SET LOCAL search_path = public")
                        customer = "INSERT INTO peer_customer (schema_name, name) VALUES (%(name)s, %(name)s)"
                        connection.execute(customer, {"name": schema})
                    table = sql.Identifier(schema, "ledger_entry")
                    connection.execute(sql.SQL(ROWS).format(table, rows))

    def migrated(self, release: str, executor: str) -> float:
        """Seconds of the whole command. Every schema has the release's migrations afterwards."""
        words = ("migrate_schemas", "--tenant", f"--executor={executor}", "--verbosity", "0")
        before = time.perf_counter()
        self._run(release, "django", *words)
        seconds = time.perf_counter() - before
        wanted = 1 + [ledger.FIRST, ledger.COLUMNS, ledger.DATA].index(release)
        assert set(self._applied()) == {wanted}, "Not every schema was migrated."
        return seconds

    def started(self) -> float:
        """Seconds that Python and Django take to start, which are part of the above."""
        before = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import django; django.setup()"], env=self._environment(), check=True)
        return time.perf_counter() - before

    def _applied(self) -> Sequence[int]:
        with psycopg.connect(self.url) as connection:
            asked = (sql.SQL(APPLIED).format(sql.Identifier(schema)) for schema in self.schemas)
            return [row[0] for each in asked for row in connection.execute(each)]

    def _run(self, release: str, module: str, *words: str, said: str = "") -> None:
        command = [sys.executable, "-m", module, *words]
        environment = self._environment(release)
        subprocess.run(command, cwd=ROOT, env=environment, input=said, text=True, check=True, stdout=sys.stderr)

    def _environment(self, release: str = ledger.DATA) -> dict[str, str]:
        mine = {"DJANGO_SETTINGS_MODULE": "benchmarks.peer.settings", "PEER_URL": self.url, "LEDGER": release}
        return {**os.environ, **self.variables, **mine}
