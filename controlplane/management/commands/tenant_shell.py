"""`manage.py tenant_shell SLUG [-c CODE]`: Django's shell, as one tenant and nobody else."""

from typing import Any

from django.apps import apps
from django.core.management.base import CommandError, CommandParser
from django.core.management.commands import shell

from provisioning import lifecycle
from tenants.audit import Actor
from tenants.context import tenant_scope
from tenants.errors import TenureError
from tenants.isolation import credentials, keys
from tenants.isolation.connections import let_default_follow_scope
from tenants.isolation.routing import is_tenant_app
from tenants.models import Tenant

ACTOR = Actor(kind="command", id="tenant_shell", name="manage.py tenant_shell")


class Command(shell.Command):
    help = "Open Django's shell inside a tenant's scope: its role, its rows, its files. The audit log says so."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", help="the tenant's slug")
        parser.add_argument(
            "--data-keys", action="store_true", help="open encrypted fields, too; the audit log says so again"
        )
        super().add_arguments(parser)

    def get_auto_imports(self) -> list[str]:
        """Of the tenant application alone: nothing else is to be had in the scope."""
        tenants_own = [config for config in apps.get_app_configs() if is_tenant_app(config.label)]
        return [f"{model.__module__}.{model.__name__}" for config in tenants_own for model in config.get_models()]

    def handle(self, **options: Any) -> None:
        slug, with_keys = options.pop("slug"), options.pop("data_keys")
        try:
            tenant = Tenant.objects.get(slug=slug)
            context = tenant.context()
            given = lifecycle.hand_out_credentials(tenant=tenant, actor=ACTOR)
            data_keys = lifecycle.hand_out_data_keys(tenant=tenant, actor=ACTOR) if with_keys else None
        except Tenant.DoesNotExist as error:
            raise CommandError(f"There is no tenant {slug}.") from error
        except TenureError as error:
            raise CommandError(f"{error} {error.cure}") from error
        credentials.register(credentials.Given(context, given.for_scope()))
        keys.register(keys.Given(context, data_keys))
        let_default_follow_scope()
        with tenant_scope(context):
            super().handle(**options)
