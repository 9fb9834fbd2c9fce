"""`manage.py verify_audit`: recompute every hash of the audit log. Exit status 0: intact; 1: something is wrong."""

import argparse
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from tqdm import tqdm

from tenants import audit
from tenants.models import AuditEntry

ACTOR = audit.Actor(kind="command", id="verify_audit", name="manage.py verify_audit")


class Command(BaseCommand):
    help = "Verify the hash chains of the audit log, and write down that it was done."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--chain", type=UUID, help="only this chain; a tenant's is its audit_chain")

    def handle(self, *_args: Any, chain: UUID | None, **_options: Any) -> None:
        entries = AuditEntry.objects.filter(**({"chain": chain} if chain else {})).count()
        with tqdm(total=entries, unit=" entries", disable=None) as bar:
            report = audit.verify(chain, progress=bar.update)
        with transaction.atomic():
            audit.write(
                audit.AuditAction.AUDIT_VERIFIED,
                actor=ACTOR,
                object=(audit.ObjectType.AUDIT_CHAIN, chain or audit.PLATFORM_CHAIN),
                outcome=audit.Outcome.DONE if report.intact else audit.Outcome.FAILED,
                counts={"chains": report.chains, "entries": report.entries, "findings": report.wrong},
            )
        for place in report.places:
            self.stderr.write(f"tampered: chain {place.chain}, entry {place.seq}: its {place.what} is wrong")
        summary = f"{report.entries} entries in {report.chains} chains"
        if not report.intact:
            raise CommandError(f"{report.wrong} places are wrong in {summary}. Compare with a backup before going on.")
        self.stdout.write(f"intact: {summary}")
