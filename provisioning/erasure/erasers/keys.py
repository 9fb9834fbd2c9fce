"""A tenant's data keys: disabled first, so that every copy is unreadable at once, and destroyed when all data is gone.

Disabling (`disable`, phase 2) can be undone by `providers.keys.enable`, and destroying cannot; see Note [Random, not
derived] there. No person has a data key of its own here: what is sealed for one person in the audit log is that log's.
"""

from typing import Literal

from provisioning.erasure.stores import Budget, Enumeration, Kind, Lease, Progress, Scope
from provisioning.providers import keys


class KeysEraser:
    """Of a person there is nothing to erase, and nothing is."""

    store = "keys"
    phase = 7
    scopes: frozenset[Kind] = frozenset({"tenant", "subject"})
    reach: Literal["logical", "cryptographic", "expiry"] = "cryptographic"

    def freeze(self, scope: Scope, lease: Lease) -> None:
        """Nothing yet: until the point of no return the tenant may be brought back."""

    def disable(self, scope: Scope, lease: Lease) -> int:
        """Behind the point of no return and before all stores. Returns how many opened something until now."""
        lease()
        return keys.disable(scope.tenant_id) if scope.kind == "tenant" else 0

    def enumerate(self, scope: Scope) -> Enumeration:
        """Empty: keys are found by their owner, and their rows outlive them."""
        return Enumeration(self.store, {})

    def erase(self, scope: Scope, found: Enumeration, cursor: str | None, budget: Budget, lease: Lease) -> Progress:
        """Raises KeyringUnreachable."""
        if scope.kind == "subject":
            return Progress(done=True)
        lease()
        return Progress(keys.shred(scope.tenant_id), done=True)
