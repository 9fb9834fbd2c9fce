"""Suspend, resume, delete or undelete one tenant.

  manage.py tenant suspend acme --reason "unpaid"      every door is shut within seconds; nothing is lost
  manage.py tenant resume acme --reason "paid"         the same doors are opened
  manage.py tenant delete acme --reason "gone"         shut, and its data may be erased 7 days later
  manage.py tenant undelete acme --reason "stays"      takes that back, until its data is being erased

It waits for the operation to end; --no-wait returns once it is accepted. Exit status 1: it ended otherwise.
"""

from typing import Any
from uuid import uuid4

from django.core.management.base import CommandError, CommandParser

from controlplane.bulk_onboarding import watch
from controlplane.management.teaching import TeachingCommand
from provisioning import lifecycle
from tenants.audit import Actor
from tenants.errors import TenureError
from tenants.models import Tenant

ACTOR = Actor(kind="command", id="tenant", name="manage.py tenant")
VERBS = {
    "suspend": lifecycle.suspend, "resume": lifecycle.resume_tenant,
    "delete": lifecycle.delete_tenant, "undelete": lifecycle.undelete,
}  # fmt: skip


class Command(TeachingCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("verb", choices=VERBS)
        parser.add_argument("slug", help="of the tenant")
        parser.add_argument("--reason", required=True, help="why; it is kept with the operation")
        parser.add_argument("--no-wait", action="store_true", help="return once it is accepted")

    def handle(self, *, verb: str, slug: str, reason: str, no_wait: bool, **_options: Any) -> None:
        try:
            tenant = Tenant.objects.get(slug=slug)
            run = VERBS[verb](tenant=tenant, reason=reason, actor=ACTOR, key=str(uuid4()))
        except Tenant.DoesNotExist as error:
            raise CommandError(f"There is no tenant {slug}.") from error
        except TenureError as error:
            raise CommandError(f"{error} {error.cure}") from error
        self.stdout.write(f"{run.public_id} is accepted.")
        if not no_wait and set(ends := watch([run], ended=lambda _number: None)) != {"succeeded"}:
            raise CommandError(f"{run.public_id} is {next(iter(ends))}: see its page.", returncode=1)
        tenant.refresh_from_db()
        self.stdout.write(f"{slug} is {tenant.state}.")
