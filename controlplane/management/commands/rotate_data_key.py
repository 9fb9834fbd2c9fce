"""`manage.py rotate_data_key SLUG --because TEXT`: a new key for what a tenant's application encrypts from now on."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from provisioning import lifecycle
from tenants.audit import Actor
from tenants.errors import TenureError
from tenants.models import Tenant

ACTOR = Actor(kind="command", id="rotate_data_key", name="manage.py rotate_data_key")


class Command(BaseCommand):
    help = "Give a tenant a new data key. What is encrypted opens as before; `manage.py reencrypt` brings it along."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", help="the tenant's slug")
        parser.add_argument("--because", required=True, help="why")

    def handle(self, *, slug: str, because: str, **_options: Any) -> None:
        try:
            tenant = Tenant.objects.get(slug=slug)
            key_id = lifecycle.rotate_data_key(tenant=tenant, reason=because, actor=ACTOR)
        except Tenant.DoesNotExist as error:
            raise CommandError(f"There is no tenant {slug}.") from error
        except TenureError as error:
            raise CommandError(f"{error} {error.cure}") from error
        self.stdout.write(f"Key {key_id} encrypts from now on; applications know of it within five minutes.")
