"""`manage.py verify_audit`: recompute every hash of the audit log. Exit status 0: intact; 1: something is wrong."""

import argparse
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from tqdm import tqdm

from provisioning import lifecycle
from provisioning.errors import Permanent, Transient
from tenants import audit
from tenants.audit.checkpoints import Checkpoint
from tenants.models import AuditEntry

ACTOR = audit.Actor(kind="command", id="verify_audit", name="manage.py verify_audit")


class Command(BaseCommand):
    help = "Verify the chains, sealed values and checkpoints of the audit log, and write down that it was done."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--chain", type=UUID, help="only this chain; a tenant's is its audit_chain")

    def handle(self, *_args: Any, chain: UUID | None, **_options: Any) -> None:
        entries = AuditEntry.objects.filter(**({"chain": chain} if chain else {})).count()
        outside = self._outside()
        with tqdm(total=entries, unit=" entries", disable=None) as bar:
            report = audit.verify(chain, outside=outside, progress=bar.update)
        with transaction.atomic():
            audit.write(
                audit.AuditAction.AUDIT_VERIFIED,
                actor=ACTOR,
                object=(audit.ObjectType.AUDIT_CHAIN, chain or audit.PLATFORM_CHAIN),
                outcome=audit.Outcome.DONE if report.intact else audit.Outcome.FAILED,
                counts={
                    "chains": report.chains,
                    "entries": report.entries,
                    "payloads": report.sealed + report.erased,
                    "checkpoints": report.checkpoints,
                    "findings": report.wrong + report.unknown,
                },
            )
        for place in report.places:
            self.stderr.write(str(place))
        summary = f"{report.entries} entries in {report.chains} chains"
        if report.wrong:
            raise CommandError(f"{report.wrong} places are wrong in {summary}. Compare with a backup before going on.")
        if report.unknown:
            raise CommandError(f"{report.unknown} places could not be looked at in {summary}.")
        self.stdout.write(f"intact: {summary}")
        if report.sealed or report.erased:
            self.stdout.write(f"personal values: {report.sealed} sealed, {report.erased} erased")
        if report.checkpoints:
            self.stdout.write(f"checkpoints: {report.checkpoints}, the newest outside is number {_newest(outside)}")

    def _outside(self) -> list[Checkpoint]:
        """What cannot be had from outside is said, and is no reason not to look at the rest."""
        try:
            if lifecycle.evidence_is_write_once() is False:
                self.stderr.write("The object store is not write-once: it deleted what it was told to keep.")
            return lifecycle.checkpoints_outside()
        except (Permanent, Transient) as error:
            self.stderr.write(f"The checkpoints outside were not looked at: {error}")
            return []


def _newest(outside: list[Checkpoint]) -> str:
    return str(outside[-1].n) if outside else "none"
