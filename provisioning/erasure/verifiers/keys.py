"""What is left of a tenant's data keys: any that has a wrap, or whose wrap still opens."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from provisioning.erasure.controls import CONTROL_ID
from provisioning.erasure.stores import Control, Coverage, Kind, Residue, Scope, Tally
from provisioning.erasure.verifiers.looking import is_runtime, looking_into
from tenants.findings import Finding
from tenants.isolation.crypto import SealError, unseal
from tenants.isolation.keys import KEPT_S

ERASED = ("tenant", "tenant.index")
BACKUPS = timedelta(days=7)  # the most that the keyring's backups may last
OF = "SELECT key_id, purpose, state, wrapped FROM data_key WHERE owner_ref = %s ORDER BY key_id"


class KeysVerifier:
    """Counts keys that are not destroyed, by the keyring's own rows and by trying to open each. A person has none."""

    store = "keys"
    scopes: frozenset[Kind] = frozenset({"tenant", "subject"})

    def coverage(self, scope: Scope) -> Coverage:
        """By the purposes that the keyring holds of this owner."""
        if scope.kind == "subject":
            return Coverage()
        purposes = {purpose for _id, purpose, _state, _wrapped in _rows(scope.tenant_id)}
        known, others = purposes & set(ERASED), purposes - set(ERASED)
        return Coverage(tuple(f"keys:{each}" for each in sorted(known)), (), tuple(f"keys:{e}" for e in sorted(others)))

    def blockers(self, scope: Scope) -> Iterable[Finding]:
        return ()

    def count(self, scope: Scope) -> tuple[Tally, ...]:
        """A key that is marked as destroyed and still opens is counted as well."""
        if scope.kind == "subject":
            return (Tally("keys:data_key", 0, action="shred"),)
        left = [
            key_id
            for key_id, purpose, state, wrapped in _rows(scope.tenant_id)
            if state != "destroyed" or wrapped is not None or _opens(scope.tenant_id, key_id, purpose, wrapped)
        ]
        return (Tally("keys:data_key", len(left), action="shred"),)

    def control(self, scope: Scope) -> Control:
        """Another role than the one that destroys reads a key of Tenure's own, and opens it."""
        with looking_into(settings.KEYRING_VERIFIER_URL) as connection:
            if is_runtime(connection, "keyring"):
                return Control(
                    ok=False, method="the verifier has the role that destroys keys: set KEYRING_VERIFIER_URL"
                )
        opened = [
            _opens(CONTROL_ID, key_id, purpose, wrapped) for key_id, purpose, _state, wrapped in _rows(CONTROL_ID)
        ]
        return Control(any(opened), f"a role of its own; {sum(opened)} of {max(1, len(opened))} control keys opened")

    def residue(self, scope: Scope) -> tuple[Residue, ...]:
        now = timezone.now()
        return (
            Residue("backups of the keyring", "they hold the wraps, and are kept 7 days at most", now + BACKUPS),
            Residue("processes that knew a key", "they forget it some minutes later", now + timedelta(seconds=KEPT_S)),
        )


def _rows(owner_ref: UUID) -> list[tuple[UUID, str, str, Any]]:
    with looking_into(settings.KEYRING_VERIFIER_URL) as connection:
        return connection.execute(OF, (owner_ref,)).fetchall()


def _opens(owner_ref: UUID, key_id: UUID, purpose: str, wrapped: Any) -> bool:
    """Raises MasterKeyUnreachable: without the master key nobody knows."""
    if wrapped is None:
        return False
    try:
        unseal(bytes(wrapped), purpose=f"data_key.{purpose}", owner=f"{key_id}|{owner_ref}")
    except SealError:
        return False
    return True
