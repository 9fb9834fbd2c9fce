"""Export a tenant's passport: its rows, its objects, checksums.

  manage.py export_tenant acme --reason "they asked" --to acme.tar   one file here, with the objects' contents
  manage.py export_tenant acme --reason "they asked"                 into the tenant's own bucket, as an operation

Whatever state it is in, short of being erased. Nothing of it changes. `manage.py check_passport acme.tar` reads it all.
"""

from pathlib import Path
from typing import Any
from uuid import uuid4

from django.core.management.base import CommandError, CommandParser

from controlplane.bulk_onboarding import watch
from controlplane.management.teaching import TeachingCommand
from provisioning import lifecycle
from provisioning.models import Direction
from tenants.audit import Actor
from tenants.errors import TenureError
from tenants.models import Tenant

ACTOR = Actor(kind="command", id="export_tenant", name="manage.py export_tenant")


class Command(TeachingCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", help="of the tenant")
        parser.add_argument("--reason", required=True, help="why; it is kept in the audit log")
        parser.add_argument("--to", type=Path, metavar="FILE.tar", help="a file that is not there yet")
        parser.add_argument("--no-wait", action="store_true", help="into the bucket: return once it is accepted")

    def handle(self, *, slug: str, reason: str, to: Path | None, no_wait: bool, **_options: Any) -> None:
        try:
            tenant = Tenant.objects.get(slug=slug)
            if to is not None:
                self._into_file(tenant, to, reason)
            else:
                self._into_bucket(tenant, reason, wait=not no_wait)
        except Tenant.DoesNotExist as error:
            raise CommandError(f"There is no tenant {slug}.") from error
        except FileExistsError as error:
            raise CommandError(f"{to} is there already. Name another file.") from error
        except TenureError as error:
            raise CommandError(f"{error} {error.cure}") from error

    def _into_file(self, tenant: Tenant, to: Path, reason: str) -> None:
        made = lifecycle.export_to_file(tenant=tenant, path=to, reason=reason, actor=ACTOR)
        self.stdout.write(f"{to}: {made.rows} rows of {made.tables} tables, {made.objects} objects.")
        self.stdout.write(f"sha256 of its manifest: {made.sha256}")

    def _into_bucket(self, tenant: Tenant, reason: str, *, wait: bool) -> None:
        run = lifecycle.export_tenant(tenant=tenant, reason=reason, actor=ACTOR, key=str(uuid4()))
        self.stdout.write(f"{run.public_id} is accepted.")
        if not wait:
            return
        if set(ends := watch([run], ended=lambda _number: None)) != {"succeeded"}:
            raise CommandError(f"{run.public_id} is {next(iter(ends))}: see its page.", returncode=1)
        made = run.steps.get(name="write manifest", direction=Direction.DO).output
        self.stdout.write(f"{made['folder']} in its bucket: {made['rows']} rows, {made['objects']} objects.")
        self.stdout.write(f"sha256 of its manifest: {made['sha256']}")
