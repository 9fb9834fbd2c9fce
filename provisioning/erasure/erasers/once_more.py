"""A store once more behind phase 5: what late writers left in it before the last of them was gone."""

from provisioning.erasure.stores import Budget, Enumeration, Eraser, Lease, Progress, Scope

AGAIN = 6


class OnceMore:
    """The eraser of a store, in a later phase. It freezes nothing: the first one did."""

    phase = AGAIN

    def __init__(self, eraser: Eraser) -> None:
        self.store, self.scopes, self.reach, self._eraser = eraser.store, eraser.scopes, eraser.reach, eraser

    def freeze(self, scope: Scope, lease: Lease) -> None:
        """Done."""

    def enumerate(self, scope: Scope) -> Enumeration:
        return self._eraser.enumerate(scope)

    def erase(self, scope: Scope, found: Enumeration, cursor: str | None, budget: Budget, lease: Lease) -> Progress:
        return self._eraser.erase(scope, found, cursor, budget, lease)
