"""Erasure requests from the command line.

  manage.py erasure import letters.csv                    a request a row; the same file again makes nothing twice
  manage.py erasure list                                  what is open, the earliest due date first
  manage.py erasure show ers_…                            its clock, plan and stores
  manage.py erasure propose ers_…                         freeze what was counted, for somebody else to approve
  manage.py erasure approve ers_… --plan-digest sha256:…  the plan that you read, of what another asked and proposed
  manage.py erasure cancel ers_… --reason mistake         call it off, until something was destroyed

The columns of the file are tenant (its slug), scope (tenant or subject) and, optional, basis, policy, received_at,
grace_days, time_zone, identifiers (email=…;phone=…). A bad row is named by its number, never by what is in it.

Whoever uses this command counts as one person: what was asked for or proposed here is approved in the admin or over the
API. Exit status: 0 done, 1 some rows were bad, 2 refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from django.core.management.base import CommandError, CommandParser

from controlplane.erasure_import import import_requests
from controlplane.erasure_words import list_lines, show_lines
from controlplane.management.teaching import TeachingCommand
from provisioning import lifecycle
from provisioning.erasure.verbs import REASONS
from provisioning.models import ENDED_REQUESTS, ErasureRequest
from tenants.actions import Actor
from tenants.errors import TenureError

ACTOR = Actor(kind="command", id="erasure", name="manage.py erasure")
VERBS = {"import": "FILE", "list": "", "show": "ID", "propose": "ID", "approve": "ID", "cancel": "ID"}


class Command(TeachingCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("verb", choices=VERBS)
        parser.add_argument("what", nargs="?", default="", help="the file, or the id of a request (ers_…)")
        parser.add_argument("--plan-digest", default="", help="of the plan that is approved (sha256:…)")
        parser.add_argument(
            "--reason", choices=sorted(REASONS), default="mistake", help="why it is cancelled (mistake)"
        )

    def handle(self, *, verb: str, what: str, plan_digest: str, reason: str, **_options: Any) -> None:
        if bool(what) != bool(VERBS[verb]):
            raise CommandError(f"Say it so: manage.py erasure {verb} {VERBS[verb]}".strip(), returncode=2)
        try:
            if verb == "import":
                self._import(Path(what))
            elif verb == "list":
                rows = ErasureRequest.objects.exclude(state__in=ENDED_REQUESTS).select_related("tenant__plan")
                self._say(list_lines(rows))
            else:
                self._act(verb, _named(what), plan_digest, reason)
        except TenureError as error:
            raise CommandError(f"{error} {error.cure}", returncode=2) from error

    def _act(self, verb: str, row: ErasureRequest, plan_digest: str, reason: str) -> None:
        by: dict[str, Any] = {"actor": ACTOR, "key": str(uuid4())}
        if verb == "propose":
            lifecycle.propose_erasure(row, **by)
        elif verb == "approve":
            lifecycle.approve_erasure(row, digest=_digest(plan_digest), **by)
        elif verb == "cancel":
            lifecycle.cancel_erasure(row, reason=reason, **by)
        self._say(show_lines(row))

    def _import(self, file: Path) -> None:
        try:
            content = file.read_bytes()
        except OSError as error:
            raise CommandError(f"{file} cannot be read: {error.strerror}.", returncode=2) from error
        taken = list(import_requests(content, actor=ACTOR))
        for each in taken:
            self.stdout.write(f"row {each.number}: {each.what} {each.request or each.problem}")
        if any(each.what == "problem" for each in taken):
            raise CommandError("Some rows were bad; the others are in.", returncode=1)

    def _say(self, lines: Any) -> None:
        for line in lines:
            self.stdout.write(line)


def _named(text: str) -> ErasureRequest:
    try:
        return ErasureRequest.objects.select_related("tenant__plan").get(pk=UUID(text.removeprefix("ers_")))
    except (ValueError, ErasureRequest.DoesNotExist) as error:
        raise CommandError(f"There is no erasure request {text}.", returncode=2) from error


def _digest(text: str) -> bytes:
    try:
        return bytes.fromhex(text.removeprefix("sha256:"))
    except ValueError as error:
        raise CommandError("Give the plan's digest as `show` prints it: sha256:…", returncode=2) from error
