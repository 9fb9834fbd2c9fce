"""Start the runner in a process of its own and give it its orders. See runner.py for what they are."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from contextlib import suppress
from typing import Any
from uuid import UUID

from provisioning.databases import guard
from provisioning.databases.programs import installed_with, started
from provisioning.databases.recording import database_of, last_line
from provisioning.databases.replaying.errors import MigrationMissing, Refusal, Refused, RunnerEnded
from provisioning.databases.replaying.walks import Act, Kind, Walk
from provisioning.databases.servers import ServerUnavailable
from tenants.context import TenantContext
from tenants.isolation.tickets import USE, mint

END_WITHIN_S = 5
SAID = 4_000  # bytes, of what the process complained about last


class Runner:
    """A session (see sessions.py) whose Python runs with Django, for the operations of one walk."""

    def __init__(self, walk: Walk, apps: list[str]) -> None:
        """Takes some seconds: Django starts, and reckons the states of the models. Raises MigrationMissing."""
        self.path: UUID = walk.path
        self._at: tuple[str, bool] | None = None
        self._complaints = tempfile.TemporaryFile("w+b")  # noqa: SIM115  closed with the process
        self._process = started("runner", complaints=self._complaints)
        acts = [act for stage in walk.stages for act in stage.acts if act.kind is Kind.PYTHON]
        installation = {
            "settings_module": os.environ["DJANGO_SETTINGS_MODULE"],
            "installed_apps": installed_with(apps),
        }
        job = {
            "source": sorted(walk.source),
            "migrations": walk.migrations,
            "operations": [[*act.migration, act.position] for act in acts],
        }
        try:
            self._write(installation)
            self._order("start", job=job)
        except BaseException:
            self.close()
            raise

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def connect(self, url: str, *, pooled: bool) -> None:
        """What it is connected to already, it stays connected to. Raises ServerUnavailable."""
        if self._at == (url, pooled):
            return
        try:
            self._order("connect", database=database_of(url), pooled=pooled)
        except Refused as refused:
            raise ServerUnavailable(refused.refusal.message, sqlstate=refused.refusal.sqlstate) from refused
        self._at = (url, pooled)

    def hang_up(self) -> None:
        if self._at is not None and not self.ended:
            self._order("hang up")
        self._at = None

    def send(self, text: str) -> str | None:
        answer: str | None = self._order("send", text=text)
        return answer

    def enter(self, tenant: TenantContext, purpose: str = USE) -> None:
        """The ticket is minted here: the process never sees a key."""
        ticket = mint(tenant, guard.context_key(tenant), purpose=purpose)
        sent = [purpose, str(ticket.tenant), str(ticket.incarnation), ticket.expires, ticket.key_version]
        self._order("enter", ticket=[*sent, ticket.mac.hex()])

    def python(self, act: Act) -> None:
        app, name = act.migration
        self._order("python", app=app, name=name, position=act.position)

    def lines(self, schema: str) -> list[str]:
        answer: list[str] = self._order("lines", schema=schema)
        return answer

    def roll_back(self) -> None:
        if not self.ended:
            with suppress(RunnerEnded):  # it was what we are rolling back for, or it is as good
                self._order("roll back")

    def close(self) -> None:
        """End the process. A transaction that it has open is rolled back by the server."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._complaints.close()

    def _order(self, do: str, **more: Any) -> Any:
        assert self._process.stdout is not None  # noqa: S101  for the type checker: it is a pipe
        try:
            self._write({"do": do, **more})
            line = self._process.stdout.readline()
        except OSError:
            line = ""
        if not line:
            self._process.wait(END_WITHIN_S)
            raise RunnerEnded(f"The process that runs migrations has ended: {self._last_words()}")
        answer = json.loads(line)
        if "refused" in answer:
            raise Refused(Refusal(**answer["refused"]))
        if "missing" in answer:
            raise MigrationMissing(f"{answer['missing']} is not among the migrations that are installed here.")
        return answer["ok"]

    def _write(self, words: dict[str, Any]) -> None:
        """Not as an argument of the process: it may hold a password."""
        assert self._process.stdin is not None  # noqa: S101  as above
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()

    def _last_words(self) -> str:
        size = self._complaints.seek(0, os.SEEK_END)
        self._complaints.seek(max(0, size - SAID))
        return last_line(self._complaints.read().decode(errors="replace"))
