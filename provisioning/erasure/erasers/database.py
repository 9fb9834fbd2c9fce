"""Drops the databases that are the tenant's alone; of one person, the rows."""

from typing import Literal

from provisioning.databases.erasing import containers, logins
from provisioning.databases.erasing.places import places_of
from provisioning.erasure.erasers.person import erase_person
from provisioning.erasure.persons import files_of
from provisioning.erasure.stores import Budget, Enumeration, Kind, Lease, Progress, Scope
from tenants.states import Tier


class Database:
    """One act on the server, and what would make it refuse before it."""

    store = "database"
    phase = 5
    scopes: frozenset[Kind] = frozenset({"tenant", "subject"})
    reach: Literal["logical", "cryptographic", "expiry"] = "logical"
    spares_held: bool = True  # of one person; a tenant's are in an archive before

    def freeze(self, scope: Scope, lease: Lease) -> None:
        if scope.kind == "tenant":
            for place in places_of(scope.tenant_id, scope.incarnation, Tier.DATABASE):
                lease()
                logins.close(place.cluster, place.context.key)

    def enumerate(self, scope: Scope) -> Enumeration:
        return Enumeration(self.store, {"files": list(files_of(scope, Tier.DATABASE))})

    def erase(self, scope: Scope, found: Enumeration, cursor: str | None, budget: Budget, lease: Lease) -> Progress:
        if scope.kind == "subject":
            return erase_person(scope, cursor, budget, lease, Tier.DATABASE)
        gone = 0
        for place in places_of(scope.tenant_id, scope.incarnation, Tier.DATABASE):
            gone += containers.drop_database(place, lease=lease).items
        return Progress(deleted=gone, done=True)
