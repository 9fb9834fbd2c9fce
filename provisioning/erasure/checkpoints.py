"""Checkpoints of the audit log: signed every quarter of an hour and after each erasure, and kept outside as well.

The copy outside is what a rewritten database cannot agree with. It lies in a bucket that nobody can delete from, where
the object store offers that; see provisioning/providers/write_once.py.
"""

from hashlib import sha256

from django.conf import settings

from provisioning.models import EvidenceKey
from provisioning.providers import evidence_keys
from provisioning.providers.evidence_keys import Use
from provisioning.providers.write_once import WriteOnce
from tenants.audit import checkpoints
from tenants.audit.checkpoints import Checkpoint

PREFIX = "checkpoints/"


def keep(*, at_once: bool = False) -> Checkpoint | None:
    """Sign one if it is time, or `at_once` (after an erasure). Any number of processes may ask; None: it is not time.

    Raises KeyringUnreachable, KeyUnusable.
    """
    if not at_once and not checkpoints.is_due():
        return None
    kid, private = evidence_keys.signing(Use.CHECKPOINT)
    return checkpoints.make(key=kid, sign=private.sign, at_once=at_once)


def copy_outside() -> int:
    """Put every checkpoint that is not outside yet there. Returns how many. Raises StoreUnreachable, StoreRefused.

    What lies outside is never written again: a table that was taken back continues with other checkpoints under the
    same numbers, and the verification must see both.
    """
    if (store := bucket()) is None:
        return 0
    newest = store.newest(PREFIX)
    missing = checkpoints.after(_number(newest) if newest else 0)
    for each in missing:
        store.put(_name(each.n), each.as_json())
    return len(missing)


def outside() -> list[Checkpoint]:
    """The newest one that lies outside; it stands for all before it, whose hashes it carries on. Raises as above."""
    store = bucket()
    newest = store.newest(PREFIX) if store is not None else None
    return [Checkpoint.from_json(store.get(newest))] if store is not None and newest is not None else []


def bucket() -> WriteOnce | None:
    """None: nothing was ever signed. Named after the first key, so that a restored database finds the same one."""
    if settings.TENURE_EVIDENCE_BUCKET:
        return WriteOnce(settings.TENURE_EVIDENCE_BUCKET)
    first = EvidenceKey.objects.filter(use=Use.CHECKPOINT).order_by("created_at", "kid").first()
    return None if first is None else WriteOnce(f"tenure-evidence-{sha256(first.kid.encode()).hexdigest()[:16]}")


def _name(n: int) -> str:
    return f"{PREFIX}{n:012d}.json"


def _number(name: str) -> int:
    return int(name.removeprefix(PREFIX).removesuffix(".json"))
