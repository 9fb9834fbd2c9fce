"""Find tenants and pools that are not what their release says: changed by hand, or by half.

  manage.py drift                                        the whole fleet; changes nothing
  manage.py drift --tier schema --cluster local-1        a part of it
  manage.py drift --adopt acme --reason "their report"   accept how acme is: no drift from now on
  manage.py drift --repair acme --plan                   the statements that would make it its release's again
  manage.py drift --repair acme --yes                    send them, in one transaction that ends right or not at all

A pool is named by its cluster and schema: local-1/pool_1. Exit status 1: there is drift, or a target was away.
"""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from controlplane.management.teaching import TeachingCommand
from controlplane.telling_drift import ACTOR, repair, selection, survey
from provisioning import lifecycle
from tenants.errors import TenureError
from tenants.states import Tier


class Command(TeachingCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--slug", action="append", default=[], help="of a tenant, or a pool's name; may be repeated"
        )
        parser.add_argument("--tier", action="append", default=[], choices=[str(tier) for tier in Tier])
        parser.add_argument("--cluster", action="append", default=[])
        parser.add_argument("--json", action="store_true", help="a line of JSON a target that is not as released")
        verbs = parser.add_mutually_exclusive_group()
        verbs.add_argument("--adopt", metavar="SLUG", help="accept how this target is; needs --reason")
        verbs.add_argument(
            "--repair", metavar="SLUG", help="make it its release's again: shows how, and with --yes does"
        )
        parser.add_argument("--reason", default="", help="why it is accepted")
        sure = parser.add_mutually_exclusive_group()
        sure.add_argument("--plan", action="store_true", help="show the statements and change nothing, as without it")
        sure.add_argument("--yes", action="store_true", help="send them: what they drop is gone")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            if options["adopt"]:
                target = lifecycle.target_named(options["adopt"])
                adopted = lifecycle.adopt_drift(target=target, reason=options["reason"], actor=ACTOR)
                self.stdout.write(f"{target.name}: accepted as it is. Lines that differ: {len(adopted.lines)}.")
            elif options["repair"]:
                repair(options["repair"], yes=options["yes"], out=self.stdout)
            elif not survey(selection(options), as_json=options["json"], out=self.stdout, aside=self.stderr):
                raise CommandError("Not every target is as its release: see above.", returncode=1)
        except TenureError as error:
            raise CommandError(f"{error} {error.cure}") from error
