"""`manage.py reencrypt SLUG [--destroy]`: bring a tenant's encrypted values under its active key, counted."""

from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from provisioning import lifecycle
from tenants.audit import Actor
from tenants.context import tenant_scope
from tenants.errors import TenureError
from tenants.isolation import keys
from tenants.isolation.reencryption import named_keys, reencrypt
from tenants.models import Tenant

ACTOR = Actor(kind="command", id="reencrypt", name="manage.py reencrypt")


class Command(BaseCommand):
    help = "Encrypt again what is not under the tenant's active key. It may be stopped and begun again at any time."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", help="the tenant's slug")
        parser.add_argument("--destroy", action="store_true", help="destroy retired keys that no value names any more")

    def handle(self, *, slug: str, destroy: bool, **_options: Any) -> None:
        try:
            tenant = Tenant.objects.get(slug=slug)
            self.bring_along(tenant)
            if destroy:
                self.destroy(tenant)
        except Tenant.DoesNotExist as error:
            raise CommandError(f"There is no tenant {slug}.") from error
        except TenureError as error:
            raise CommandError(f"{error} {error.cure}") from error

    def bring_along(self, tenant: Tenant) -> None:
        with tenant_scope(tenant.context()) as scope:
            done = sum(reencrypt())
            active = keys.of(scope).active.id
            left = named_keys()
        self.stdout.write(f"{done} values encrypted again; {left.pop(active, 0)} are under key {active}.")
        for key_id, count in left.items():  # written meanwhile, by a process that does not know the new key yet
            self.stdout.write(f"{count} are under key {key_id}. Run this again in some minutes.")

    def destroy(self, tenant: Tenant) -> None:
        doomed: list[UUID] = lifecycle.retired_data_keys(tenant=tenant)
        for key_id in doomed:
            lifecycle.destroy_data_key(tenant=tenant, key_id=key_id, actor=ACTOR)
            self.stdout.write(f"Key {key_id} is destroyed.")
