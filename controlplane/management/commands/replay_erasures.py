"""`manage.py replay_erasures`: after a restore, erase again what was erased since the backup."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from provisioning import lifecycle
from provisioning.errors import OperationInProgress, Transient
from provisioning.models import Queue, RunState
from tenants.actions import Actor

ACTOR = Actor(kind="command", id="replay_erasures", name="manage.py replay_erasures")


class Command(BaseCommand):
    help = "Name the databases that are older than an erasure, and erase again. The sweeper does the same by itself."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--list", action="store_true", help="Name them, and begin nothing.")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            found = lifecycle.databases_behind()
            for each in found:
                self.stdout.write(str(each))
            while not options["list"] and (run := lifecycle.replay_next(actor=ACTOR)) is not None:
                lifecycle.advance(queue=Queue(run.queue))
                run.refresh_from_db()
                if run.state != RunState.SUCCEEDED:
                    raise CommandError(
                        f"Operation {run.public_id} is {run.state}: {run.error or 'it is not its turn'}."
                    )
                self.stdout.write(f"Erased again, verified and marked: operation {run.public_id}.")
        except (Transient, OperationInProgress) as error:
            raise CommandError(str(error)) from error
        left = lifecycle.databases_behind() if found else ()
        if left and not options["list"]:
            raise CommandError("Requests that were under way at the backup's time erase by themselves: see their page.")
        self.stdout.write("No database is older than an erasure." if not left else f"{len(left)} to be replayed.")
