"""`manage.py publish_release [NAME]`: make the tenant application what new tenants are copied from."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from provisioning import lifecycle
from tenants.actions import Actor
from tenants.errors import TenureError


class Command(BaseCommand):
    help = "Migrate TENANT_APPS, or TENANT_SQL, into a blueprint and make it current; nothing new changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", nargs="?", help="its name; without one it is made of the date")
        parser.add_argument("--contracts", default="", metavar="NAME", help="the release that made room for this one")
        parser.add_argument("--quiet", action="store_true", help="no progress bar")

    def handle(self, *, name: str | None, contracts: str, quiet: bool, verbosity: int, **_options: Any) -> None:
        before = lifecycle.current_release()
        with tqdm(unit="migration", disable=quiet or verbosity == 0 or None, leave=False) as bar:

            def progress(done: int, total: int, what: str) -> None:
                bar.total, bar.n = total, done
                bar.set_description(what)

            try:
                actor = Actor(kind="command", id="publish_release", name="publish_release")
                release = lifecycle.publish(name, actor=actor, contracts=contracts, progress=progress)
            except TenureError as error:
                raise CommandError(f"{error} {error.cure}") from error
        if verbosity:
            for refusal in release.pool_refusals:
                self.stderr.write(
                    f"Not for pools: {refusal['reason']} {refusal['instead']}\n    {refusal['statement']}"
                )
            same = before is not None and before.pk == release.pk
            self.stdout.write(f"Nothing new: {release.name} is current." if same else f"Published {release.name}.")
