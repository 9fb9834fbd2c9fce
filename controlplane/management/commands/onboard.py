"""Onboard every tenant of a billing export.

  manage.py onboard export.csv --plan      what would happen; changes nothing
  manage.py onboard export.csv             do it; running it again changes nothing
  manage.py onboard export.jsonl --no-wait accept and return at once

The columns are slug, name, plan and, optional, external_ref, region, tier, labels (key=value;key=value).
A bad line is named with its number and cure; the good ones are onboarded all the same. Exit status 1: some were bad.
"""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from tqdm import tqdm

from controlplane.billing_export import BadFile, read
from controlplane.bulk_onboarding import onboard_all, watch
from controlplane.management.teaching import TeachingCommand


class Command(TeachingCommand):
    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="a .csv or .jsonl file")
        parser.add_argument("--plan", action="store_true", help="say what would happen and change nothing")
        parser.add_argument("--no-wait", action="store_true", help="return once everything is accepted")
        parser.add_argument("--principal", default="billing", help="whose external_ref values they are")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            lines = list(read(options["file"], principal=options["principal"]))
        except BadFile as error:
            raise CommandError(f"{error} {error.cure}") from error
        answers = []
        for answer in tqdm(
            onboard_all(lines, write=not options["plan"]), total=len(lines), desc="accepted", unit="line", disable=None
        ):
            answers.append(answer)
            if answer.what == "problem":
                named = f"{answer.slug[:48]!r}: " if answer.slug else ""
                tqdm.write(f"line {answer.number}: {named}{answer.detail}", file=self.stderr)
        started = [answer.run for answer in answers if answer.what == "accepted" and answer.run is not None]
        if started and not options["no_wait"]:
            with tqdm(total=len(started), desc="onboarded", unit="tenant", disable=None) as bar:
                ends = watch(started, ended=bar.update)
            for state, count in sorted(ends.items()):
                self.stdout.write(f"{count} {'active' if state == 'succeeded' else state}")
        counts = {what: sum(answer.what == what for answer in answers) for what in ("accepted", "present", "problem")}
        verb = "would be accepted" if options["plan"] else "accepted"
        self.stdout.write(f"{counts['accepted']} {verb}, {counts['present']} there already, {counts['problem']} bad")
        if counts["problem"] or (started and not options["no_wait"] and set(ends) != {"succeeded"}):
            raise CommandError("Not every line became a tenant: see above.", returncode=1)
