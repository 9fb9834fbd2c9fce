"""Check a passport: `manage.py check_passport FILE` compares every byte and every count with its manifest."""

import argparse
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from provisioning import lifecycle


class Command(BaseCommand):
    help = "Read a passport and compare all its checksums and counts. Nothing of this installation is asked."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="what `manage.py export_tenant --to` wrote")
        parser.add_argument("--sha256", default="", help="of the manifest, as the export said it")

    def handle(self, *_args: Any, file: Path, sha256: str, **_options: Any) -> None:
        try:
            found = lifecycle.check_passport(file)
        except FileNotFoundError as error:
            raise CommandError(f"There is no file {file}.") from error
        except lifecycle.PassportSpoiled as error:
            raise CommandError(f"SPOILED: {error} {error.cure}") from error
        if sha256 and sha256 != found.sha256:
            raise CommandError(f"It is whole, and another passport: the sha256 of its manifest is {found.sha256}.")
        self.stdout.write(f"WHOLE: {found.rows} rows of {found.tables} tables, {found.objects} objects.")
        self.stdout.write(f"sha256 of its manifest: {found.sha256}")
