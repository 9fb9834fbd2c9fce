"""A tenant's data keys: disabled first, so that every copy is unreadable at once, and destroyed when all data is gone.

Disabling (phase 2) can be undone by `providers.keys.enable`, and destroying cannot; see Note [Random, not
derived] there. No person has a data key of its own here: what is sealed for one person in the audit log is that log's.
"""

from typing import Literal

from provisioning.erasure.stores import Budget, Enumeration, Kind, Lease, Progress, Scope
from provisioning.providers import keys


class _Keys:
    """Both passes over the keyring's rows of a tenant."""

    store = "keys"
    scopes: frozenset[Kind] = frozenset({"tenant", "subject"})
    reach: Literal["logical", "cryptographic", "expiry"] = "cryptographic"

    def freeze(self, scope: Scope, lease: Lease) -> None:
        """Nothing yet: until the point of no return the tenant may be brought back."""

    def enumerate(self, scope: Scope) -> Enumeration:
        """Empty: keys are found by their owner, and their rows outlive them."""
        return Enumeration(self.store, {})


class KeysDisabler(_Keys):
    """Behind the point of no return and before all stores: every copy is unreadable from now on, backups included.

    It counts nothing: the keys are there still.
    """

    phase = 2

    def erase(self, scope: Scope, found: Enumeration, cursor: str | None, budget: Budget, lease: Lease) -> Progress:
        """Raises KeyringUnreachable."""
        if scope.kind == "tenant":
            lease()
            keys.disable(scope.tenant_id)
        return Progress(done=True)


class KeysEraser(_Keys):
    """Of a person there is nothing to erase, and nothing is."""

    phase = 7

    def erase(self, scope: Scope, found: Enumeration, cursor: str | None, budget: Budget, lease: Lease) -> Progress:
        """Raises KeyringUnreachable."""
        if scope.kind == "subject":
            return Progress(done=True)
        lease()
        return Progress(keys.shred(scope.tenant_id), done=True)
