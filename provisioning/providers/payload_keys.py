"""Keys of the audit log's personal values, and of the ledger: random, wrapped, in the keyring database.

One per chain and person (`owner_ref` is derived from both; see tenants.audit.payloads), so that either can be erased.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from uuid import UUID, uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from django.db import InterfaceError, OperationalError, connections
from django.db.models.functions import Now

from provisioning.models import DataKey
from provisioning.providers import evidence_keys
from tenants.audit import PayloadKeysAway
from tenants.isolation.crypto import KEY_BYTES, SealError, seal, unseal

PURPOSE = "audit"
LOCK_TIMEOUT = "5s"  # for the rewrite: it waits for whoever reads keys, and others wait behind it


class PayloadKeys:
    """What tenants.audit.sources asks for."""

    def active(self, owner: UUID) -> tuple[UUID, bytes]:
        with _away():
            return active(owner, PURPOSE)

    def are_active(self, keys: Collection[UUID]) -> bool:
        with _away():
            living = DataKey.objects.filter(key_id__in=keys, purpose=PURPOSE, state=DataKey.State.ACTIVE)
            return living.count() == len(keys)

    def opened(self, keys: Collection[UUID]) -> Mapping[UUID, bytes]:
        with _away():
            rows = DataKey.objects.filter(key_id__in=keys, purpose=PURPOSE).exclude(state=DataKey.State.DESTROYED)
            return {row.key_id: _opened(row) for row in rows}

    def disable(self, keys: Collection[UUID]) -> None:
        with _away():
            living = DataKey.objects.filter(key_id__in=keys, purpose=PURPOSE, state=DataKey.State.ACTIVE)
            living.update(state=DataKey.State.DISABLED)

    def destroy(self, keys: Collection[UUID]) -> None:
        with _away():
            living = DataKey.objects.filter(key_id__in=keys, purpose=PURPOSE).exclude(state=DataKey.State.DESTROYED)
            living.update(wrapped=None, state=DataKey.State.DESTROYED, destroyed_at=Now())
            rewrite()  # also when none was left: whoever destroyed them may not have come this far

    def signers(self) -> Mapping[str, Ed25519PublicKey]:
        with _away():
            return evidence_keys.public_keys(evidence_keys.Use.CHECKPOINT)


def active(owner: UUID, purpose: str) -> tuple[UUID, bytes]:
    """The owner's active key of this purpose, made now if there is none. Raises DatabaseError, SealError."""
    row = _active(owner, purpose)
    if row is None:
        DataKey.objects.bulk_create([_new(owner, purpose)], ignore_conflicts=True)
        row = DataKey.objects.get(owner_ref=owner, purpose=purpose, state=DataKey.State.ACTIVE)
    return row.key_id, _opened(row)


def rewrite() -> None:
    """Write the table of keys anew, without the bytes of those destroyed: an UPDATE leaves them in its files.

    The write-ahead log and backups keep them until they run out. Raises DatabaseError when the table stays busy.
    """
    with connections["keyring"].cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, false)", [LOCK_TIMEOUT])
        try:
            cursor.execute("VACUUM (FULL) data_key")
        finally:
            cursor.execute("SELECT set_config('lock_timeout', '0', false)")


@contextmanager
def _away() -> Iterator[None]:
    """Silence of the database, and a master key that does not open: either way nobody can say what is under the key."""
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise PayloadKeysAway from error
    except SealError as error:
        raise PayloadKeysAway(str(error), cure=error.cure) from error


def _active(owner: UUID, purpose: str) -> DataKey | None:
    return DataKey.objects.filter(owner_ref=owner, purpose=purpose, state=DataKey.State.ACTIVE).first()


def _opened(row: DataKey) -> bytes:
    return unseal(bytes(row.wrapped or b""), **_bound_to(row.key_id, row.owner_ref, row.purpose))


def _new(owner: UUID, purpose: str) -> DataKey:
    key_id = uuid4()
    wrapped = seal(secrets.token_bytes(KEY_BYTES), **_bound_to(key_id, owner, purpose))
    return DataKey(key_id=key_id, purpose=purpose, owner_ref=owner, wrapped=wrapped)


def _bound_to(key_id: UUID, owner: UUID, purpose: str) -> dict[str, str]:
    return {"purpose": f"data_key.{purpose}", "owner": f"{key_id}|{owner}"}
