"""`manage.py verify_certificate FILE`: the same as `python -m provisioning.erasure.certificate`, with our own keys."""

import argparse
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from provisioning import lifecycle
from provisioning.erasure.certificate import Refused, verify


class Command(BaseCommand):
    help = "Verify a certificate of erasure. With --key and --status nothing of this installation is asked."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--key", type=Path, help="public keys as PEM; else this installation's")
        parser.add_argument("--status", type=Path, help="a status list; else this installation's, as it is now")

    def handle(self, *_args: Any, file: Path, key: Path | None, status: Path | None, **_options: Any) -> None:
        keys = key.read_bytes() if key else lifecycle.certificate_keys()
        listed = status.read_bytes() if status else None if key else lifecycle.certificate_status()
        try:
            valid = verify(file.read_bytes(), keys, listed)
        except Refused as error:
            raise CommandError(f"REFUSED ({error.code}): {error}") from error
        self.stdout.write(f"VALID: {valid.document['stage']} certificate {valid.document['id']}")
        for note in valid.notes:
            self.stdout.write(f"  {note}")
