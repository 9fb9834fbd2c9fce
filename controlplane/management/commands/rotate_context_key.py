"""`manage.py rotate_context_key [begin|finish]`: another key that signs whose rows a session in a pool may see."""

import time
from argparse import RawDescriptionHelpFormatter
from collections.abc import Callable, Iterable
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from provisioning import lifecycle
from provisioning.databases.context_keys import Standing, State
from tenants.audit import Actor
from tenants.errors import TenureError

ACTOR = Actor(kind="command", id="rotate_context_key", name="manage.py rotate_context_key")
HELP = """Exchange the key that signs whose rows a session in a pool may see.

  rotate_context_key           how each cluster stands; changes nothing
  rotate_context_key begin     every cluster takes a second key and signs with it from now on
  rotate_context_key finish    drop the former key, once all credentials made with it have run out

Do it after a leak of the secret or of a database's backup, and before a restored database takes connections. If the
secret leaked, first set TENURE_CONTEXT_SECRET to a new one and TENURE_CONTEXT_SECRET_FORMER to the old, and restart;
unset the latter when finish is through. Nobody is refused in between. Each verb may be run again: a cluster that was
away is taken up then."""


class Command(BaseCommand):
    help = HELP

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(prog_name, subcommand, formatter_class=RawDescriptionHelpFormatter, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("verb", nargs="?", choices=("plan", "begin", "finish"), default="plan")
        parser.add_argument(
            "--now",
            action="store_true",
            help="finish without waiting: whoever holds a former credential is refused once, and asks for a new one",
        )

    def handle(self, *, verb: str, now: bool, **_options: Any) -> None:
        verbs: dict[str, Callable[[], Iterable[Standing]]] = {
            "plan": lifecycle.plan_context_keys,
            "begin": lambda: lifecycle.begin_context_keys(actor=ACTOR),
            "finish": lambda: lifecycle.finish_context_keys(actor=ACTOR, at_once=now),
        }
        try:
            seen = self._shown(verbs[verb]())
            while early := [each.until for each in seen if each.state == State.TOO_EARLY and each.until]:
                self.stdout.write("Waiting. You may stop this and run it again later.")
                time.sleep(max(0.0, (min(early) - timezone.now()).total_seconds()) + 1)
                seen = self._shown(verbs[verb]())
        except TenureError as error:
            raise CommandError(f"{error} {error.cure}") from error
        if not seen:
            self.stdout.write("Nothing is under way." if verb == "finish" else "No cluster is registered.")
        if away := [each.cluster for each in seen if each.state == State.AWAY]:
            raise CommandError(f"Left as it was: {', '.join(away)}. Run it again when the server is back.")
        if verb == "begin" and seen:
            self.stdout.write("Next: manage.py rotate_context_key finish. It waits until it may.")

    def _shown(self, standings: Iterable[Standing]) -> list[Standing]:
        seen = []
        for each in standings:
            seen.append(each)
            self.stdout.write(f"{each.cluster}: {self._sentence(each)}")
        return seen

    @staticmethod
    def _sentence(each: Standing) -> str:
        until = "" if each.until is None else f"{each.until:%H:%M:%S} UTC"
        return {
            State.SETTLED: f"version {each.signs} signs.",
            State.BEGUN: f"version {each.signs} signs of {', '.join(each.good)}. To be finished from {until} on.",
            State.TOO_EARLY: f"credentials made with a former version are good until {until}.",
            State.FINISHED: f"only version {each.signs} is good. Sessions ended: {each.ended}.",
            State.UNGUARDED: "it has no guard, and so no pools. `register_cluster` makes one.",
            State.AWAY: each.said,
        }[each.state]
