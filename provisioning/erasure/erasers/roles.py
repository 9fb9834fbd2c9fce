"""Removes the tenant's login role with whatever it holds in any database, and our own rows that name it there."""

from typing import Literal

from provisioning.databases.erasing import logins, pool
from provisioning.databases.erasing.places import inside, places_of
from provisioning.erasure.stores import Budget, Enumeration, Kind, Lease, Progress, Scope
from provisioning.models import ResourceKind, Secret
from tenants.placement import tenant_key
from tenants.states import Tier


class Roles:
    """In every cluster the tenant ever had a place in. Last of all, since the run itself needs doors and roles.

    `tenure.fence` keeps its row: it is what a late worker of ours is turned away by, and holds a random id alone.
    """

    store = "roles"
    phase = 9
    scopes: frozenset[Kind] = frozenset({"tenant"})
    reach: Literal["logical", "cryptographic", "expiry"] = "logical"

    def freeze(self, scope: Scope, lease: Lease) -> None:
        for place in places_of(scope.tenant_id, scope.incarnation):
            lease()
            logins.close(place.cluster, place.context.key)

    def enumerate(self, scope: Scope) -> Enumeration:
        return Enumeration(self.store, {})

    def erase(self, scope: Scope, found: Enumeration, cursor: str | None, budget: Budget, lease: Lease) -> Progress:
        gone, places = 0, places_of(scope.tenant_id, scope.incarnation)
        for cluster in {place.cluster.pk: place.cluster for place in places}.values():
            gone += logins.remove(cluster, tenant_key(scope.tenant_id), lease=lease)
            gone += logins.forget_replays(cluster, tenant_key(scope.tenant_id))
        for place in places:
            if place.context.tier == Tier.POOL:
                lease()
                with inside(place) as connection:
                    gone += pool.forget_door(connection, place)
        Secret.objects.filter(tenant_id=scope.tenant_id, kind=ResourceKind.ROLE).delete()
        return Progress(deleted=gone, done=True)
