"""A tenant's data keys: disabled first, so that every copy is unreadable at once, and destroyed when all data is gone.

Disabling can be undone and destroying cannot; see Note [Random, not derived] in providers/keys.py. No person has a data
key of its own here: what is sealed for one person in the audit log is the audit log's.
"""

from typing import Literal

from provisioning.erasure.stores import Budget, Enumeration, Kind, Lease, Progress, Scope
from provisioning.providers.keys import disable, shred

DISABLE, DESTROY = 2, 7


class KeysEraser:
    """Entered twice: in phase DISABLE it takes nothing away, in phase DESTROY it counts what it destroyed."""

    store = "keys"
    scopes: frozenset[Kind] = frozenset({"tenant"})
    reach: Literal["logical", "cryptographic", "expiry"] = "cryptographic"

    def __init__(self, phase: int) -> None:
        self.phase = phase

    def freeze(self, scope: Scope, lease: Lease) -> None:
        """Nothing yet: until the point of no return the tenant may be brought back."""

    def enumerate(self, scope: Scope) -> Enumeration:
        """Empty: keys are found by their owner, and their rows outlive them."""
        return Enumeration(self.store, {})

    def erase(self, scope: Scope, found: Enumeration, cursor: str | None, budget: Budget, lease: Lease) -> Progress:
        """Raises KeyringUnreachable."""
        lease()
        if self.phase == DISABLE:
            disable(scope.tenant_id)
            return Progress(done=True)
        return Progress(shred(scope.tenant_id), done=True)
