"""Read what a hold has kept of an erased tenant.

  manage.py held_records list ers_…                    the holds of a request, and how many records each has archived
  manage.py held_records open HOLD --to kept.ndjson    a JSON object a line, into a file that is not there yet

That somebody opened it is in the audit log before the first byte is written. The file holds what the law keeps, in
clear: delete it when it was read.
"""

from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.management.base import CommandError, CommandParser

from controlplane.management.teaching import TeachingCommand
from provisioning import lifecycle
from provisioning.models import RecordHold
from tenants.audit import Actor
from tenants.errors import TenureError

ACTOR = Actor(kind="command", id="held_records", name="manage.py held_records")


class Command(TeachingCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("verb", choices=("list", "open"))
        parser.add_argument("what", help="the id of a request (ers_…), or of a hold")
        parser.add_argument("--to", type=Path, metavar="FILE", help="a file that is not there yet")

    def handle(self, *, verb: str, what: str, to: Path | None, **_options: Any) -> None:
        wanted = {"request": _uuid(what)} if verb == "list" else {"pk": _uuid(what)}
        holds = list(RecordHold.objects.filter(**wanted).select_related("request").order_by("placed_at"))
        if not holds or (verb == "open" and to is None):
            raise CommandError("Name a request that has holds, or a hold and a file.", returncode=2)
        if to is None:
            for hold in holds:
                archived = "not archived" if hold.archived is None else f"{hold.archived} archived"
                self.stdout.write(f"{hold.pk}  {hold.place}  {archived}  {hold.ground}")
            return
        try:
            number = lifecycle.open_records(holds[0], path=to, actor=ACTOR)
        except FileExistsError as error:
            raise CommandError(f"{to} is there already. Name another file.") from error
        except OSError as error:
            raise CommandError(f"{to} cannot be written: {error.strerror}. Name another file.") from error
        except TenureError as error:
            raise CommandError(f"{error} {error.cure}") from error
        self.stdout.write(f"{to}: {number} records.")


def _uuid(text: str) -> UUID:
    try:
        return UUID(text.removeprefix("ers_"))
    except ValueError as error:
        raise CommandError(f"There is nothing called {text}.", returncode=2) from error
