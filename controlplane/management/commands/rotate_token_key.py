"""`manage.py rotate_token_key [--exposed]`: a new key that signs tenants' tokens."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from provisioning import lifecycle
from tenants.audit import Actor
from tenants.errors import TenureError

ACTOR = Actor(kind="command", id="rotate_token_key", name="manage.py rotate_token_key")


class Command(BaseCommand):
    help = "Publish a new key now; it signs in some minutes, when every verifier has seen it. No token is refused."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--exposed", action="store_true", help="revoke all present keys and sign with a new one at once"
        )

    def handle(self, *, exposed: bool, **_options: Any) -> None:
        rotate = lifecycle.replace_token_keys if exposed else lifecycle.rotate_token_key
        try:
            key = rotate(actor=ACTOR)
        except TenureError as error:
            raise CommandError(f"{error} {error.cure}") from error
        when = "now" if key.signs_from <= timezone.now() else f"{key.signs_from:%Y-%m-%d %H:%M} UTC"
        self.stdout.write(f"Key {key.kid.hex} signs from {when}.")
