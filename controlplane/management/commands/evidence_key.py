"""`manage.py evidence_key USE`: the public keys of certificates or checkpoints, as PEM; --rotate makes a new one."""

import argparse
from typing import Any

from django.core.management.base import BaseCommand

from provisioning import lifecycle
from tenants.audit import Actor

ACTOR = Actor(kind="command", id="evidence_key", name="manage.py evidence_key")


class Command(BaseCommand):
    help = "Print the public keys that papers are verified with. Keep them somewhere else than the database."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("use", choices=["certificate", "checkpoint"])
        parser.add_argument("--rotate", action="store_true", help="a new key signs from now on")

    def handle(self, *_args: Any, use: str, rotate: bool, **_options: Any) -> None:
        if rotate:
            self.stderr.write(f"key {lifecycle.rotate_evidence_key(use=use, actor=ACTOR)} signs from now on")
        self.stdout.write(lifecycle.evidence_keys(use=use).decode(), ending="")
