"""What a hold has kept of an erased tenant, for whoever must read it: into a file, and told before the first byte."""

from __future__ import annotations

from pathlib import Path

from django.db import transaction

from provisioning.erasure import hold_archive
from provisioning.models import RecordHold
from tenants.audit import Actor, AuditAction, ObjectType
from tenants.audit import write as audit


def open_records(hold: RecordHold, *, path: Path, actor: Actor) -> int:
    """Write the records of one hold into a new file, a JSON object a line, and return how many there are.

    Raises FileExistsError, HeldNowhere, Tampered, keys.KeyDestroyed, keys.KeyringUnreachable; a file that was begun
    does not stay.
    """
    lines = hold_archive.opened(hold)
    with path.open("xb") as file:
        try:
            path.chmod(0o600)
            with transaction.atomic():
                audit(
                    AuditAction.RECORDS_OPENED,
                    actor=actor,
                    object=(ObjectType.ERASURE_REQUEST, hold.request_id),
                    tenant=hold.request.tenant_id,
                )
            number = 0
            for line in lines:
                file.write(line)
                number += 1
        except BaseException:
            path.unlink()
            raise
    return number
