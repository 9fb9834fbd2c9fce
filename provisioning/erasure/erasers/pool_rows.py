"""Erases a tenant's rows from the pools it lives or lived in; one person's, where it lives now."""

from typing import Literal

from provisioning.databases.erasing import pool, statistics
from provisioning.databases.erasing.places import Place, places_of
from provisioning.databases.servers import session
from provisioning.erasure.erasers.person import erase_person
from provisioning.erasure.persons import files_of
from provisioning.erasure.stores import Budget, Enumeration, Kind, Lease, Progress, Scope
from tenants.findings import Finding
from tenants.states import Tier

ROWS, STATISTICS = "rows", "statistics"


class PoolRows:
    """See Note [As whom rows are deleted]. The cursor tells rows from statistics: a set that shrinks needs none.

    Doors are shut before the first chunk alone: that waits for the transactions of every neighbour that are open.
    """

    store = "pool_rows"
    phase = 5
    scopes: frozenset[Kind] = frozenset({"tenant", "subject"})
    reach: Literal["logical", "cryptographic", "expiry"] = "logical"
    spares_held: bool = True  # of one person; a tenant's are in an archive before

    def freeze(self, scope: Scope, lease: Lease) -> None:
        """The tenant's doors are shut, and who was inside has left. One person's tenant lives on."""
        if scope.kind == "tenant":
            for place in _places(scope):
                lease()
                with session(place.cluster) as connection:
                    pool.shut(connection, place)

    def enumerate(self, scope: Scope) -> Enumeration:
        """Of one person: the names of files that the rows name, which go with them. A tenant's rows name nothing."""
        return Enumeration(self.store, {"files": list(files_of(scope, Tier.POOL))})

    def erase(self, scope: Scope, found: Enumeration, cursor: str | None, budget: Budget, lease: Lease) -> Progress:
        if scope.kind == "subject":
            return erase_person(scope, cursor, budget, lease, Tier.POOL)
        gone, failed = 0, list[Finding]()
        if cursor is None:
            self.freeze(scope, lease)
        if cursor != STATISTICS:
            for place in _places(scope):
                some = _some(place, budget, budget.items - gone, lease)
                gone += some.rows
                failed += some.left
                if not some.done:
                    return Progress(deleted=gone, failed=tuple(failed), cursor=ROWS)
            return Progress(deleted=gone, failed=tuple(failed), cursor=STATISTICS)
        for place in _places(scope):
            with session(place.cluster) as connection:
                statistics.forget_values(connection, place.schema, lease=lease)
        return Progress(cursor=STATISTICS, done=True)


def _places(scope: Scope) -> list[Place]:
    return places_of(scope.tenant_id, scope.incarnation, Tier.POOL)


def _some(place: Place, budget: Budget, limit: int, lease: Lease) -> pool.Gone:
    """The first chunk has shut the doors; a door that somebody opened since lets nobody in to erase."""
    with session(place.cluster) as connection:
        return pool.erase(connection, place, limit=limit, until=budget.until, lease=lease)
