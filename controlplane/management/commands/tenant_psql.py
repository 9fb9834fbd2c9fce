"""`manage.py tenant_psql SLUG [-- ARGUMENTS OF PSQL]`: psql as one tenant's own role."""

import os
import shutil
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from provisioning import lifecycle
from tenants.audit import Actor
from tenants.errors import TenureError
from tenants.models import Tenant

ACTOR = Actor(kind="command", id="tenant_psql", name="manage.py tenant_psql")


class Command(BaseCommand):
    help = "Open psql as a tenant's role, in its database and schema. The audit log says so."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", help="the tenant's slug")
        parser.add_argument("arguments", nargs="*", help="behind `--`: what psql takes, for example -- -c '\\dt'")

    def handle(self, *, slug: str, arguments: list[str], **_options: Any) -> None:
        if not (psql := shutil.which("psql", path=settings.PG_BIN or None)):
            raise CommandError("There is no psql. Install PostgreSQL's client, or set PG_BIN to the folder it is in.")
        try:
            given = lifecycle.hand_out_credentials(tenant=Tenant.objects.get(slug=slug), actor=ACTOR).database
        except Tenant.DoesNotExist as error:
            raise CommandError(f"There is no tenant {slug}.") from error
        except TenureError as error:
            raise CommandError(f"{error} {error.cure}") from error
        self.stdout.flush()
        # Nothing in the arguments: those, unlike the environment, every user of the machine can read.
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        connection = {
            "PGHOST": given.host,
            "PGPORT": str(given.port),
            "PGDATABASE": given.name,
            "PGUSER": given.user,
            "PGPASSWORD": given.password,
            "PGOPTIONS": f"-c search_path={given.schema}",
        }
        os.execve(psql, [Path(psql).name, *arguments], {**kept, **connection})  # noqa: S606  no shell, our own list
