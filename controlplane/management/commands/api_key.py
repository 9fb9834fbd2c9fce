"""`manage.py api_key billing --scope tenants:read --scope tenants:write`: make a key, and show it once."""

from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from controlplane.keys import DAYS, WIDEST, make_key, revoke_key
from controlplane.models import ApiKey, Scope
from tenants.audit import Actor
from tenants.errors import TenureError

ACTOR = Actor(kind="command", id="api_key", name="manage.py api_key")


class Command(BaseCommand):
    help = "Make a key of the API and print its token once, or revoke one."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", nargs="?", help="what the key is for, for example: billing")
        parser.add_argument("--principal", default="operations", help="who answers for its use (operations)")
        parser.add_argument(
            "--scope", action="append", choices=list(Scope), help="once for each; all but erasure:approve when left out"
        )
        parser.add_argument("--days", type=int, default=DAYS, help=f"days until it expires ({DAYS}; 365 at most)")
        parser.add_argument("--reads-per-minute", type=int, default=600)
        parser.add_argument("--writes-per-minute", type=int, default=60)
        parser.add_argument("--erasures-per-hour", type=int, default=10, help="new erasure requests; the usual is 10")
        parser.add_argument("--revoke", metavar="KEY_ID", help="revoke key_… instead of making one")

    def handle(self, *, name: str | None, scope: list[str] | None, revoke: str | None, **options: Any) -> None:
        if revoke:
            self.revoke(revoke)
            return
        if not name:
            raise CommandError("Say what the key is for: manage.py api_key NAME.")
        wanted = ("principal", "days", "reads_per_minute", "writes_per_minute", "erasures_per_hour")
        try:
            made = make_key(name=name, scopes=scope or WIDEST, actor=ACTOR, **{word: options[word] for word in wanted})
        except TenureError as error:
            raise CommandError(f"{error} {error.cure}") from error
        self.stderr.write(f"{made.key.public_id} {', '.join(made.key.scopes)} until {made.key.expires_at:%Y-%m-%d}")
        self.stderr.write("The token is shown this once:")
        self.stdout.write(made.token)

    def revoke(self, public_id: str) -> None:
        try:
            key = ApiKey.objects.get(pk=UUID(public_id.removeprefix("key_")))
        except (ValueError, ApiKey.DoesNotExist) as error:
            raise CommandError(f"There is no key {public_id}. The admin lists them.") from error
        revoke_key(key=key, actor=ACTOR)
        self.stdout.write(f"{key.public_id} is revoked.")
