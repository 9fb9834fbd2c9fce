"""The tiers behind one interface: TenantDatabase and LoginRole as providers, and how to connect as a tenant."""

from collections.abc import Iterator
from typing import Protocol

from provisioning.databases import fingerprint as fingerprints
from provisioning.databases.dedicated import DedicatedTier
from provisioning.databases.pool import PoolTier
from provisioning.databases.pools import pool_release
from provisioning.databases.releases import NoRelease, current_release
from provisioning.databases.roles import LoginRole, enter, log_in
from provisioning.databases.schema import SchemaTier
from provisioning.databases.servers import Connection, server_errors
from provisioning.databases.servers import connect as connect_to_cluster
from provisioning.models import Claim, Handle, ResourceKind
from tenants.context import TenantContext
from tenants.findings import Finding
from tenants.models import Cluster
from tenants.states import Tier


class TierOfRows(Protocol):
    """What each tier does. Every method may be called again after a crash at any point."""

    def provision(self, tenant: TenantContext, handle: Handle, *, claim: Claim) -> None:
        """A copy of the handle's release, seed rows and all, owned by the owner role. No role may use it yet."""

    def verify(self, tenant: TenantContext, handle: Handle) -> Iterator[Finding]:
        """Shape against the release, owners, and who may reach it."""

    def count(self, tenant: TenantContext, handle: Handle) -> int:
        """Rows of all its tables, seed rows among them; 0 when it does not exist."""

    def erase(self, tenant: TenantContext, handle: Handle, *, limit: int) -> int:
        """Delete about `limit` rows; how many went."""

    def deprovision(self, tenant: TenantContext, handle: Handle, *, claim: Claim) -> None:
        """Drop it, sessions or not."""


class TierWithDoors(TierOfRows, Protocol):
    """A tier whose login roles are shared, so that it lets each tenant in by itself. See Shuttable."""

    def shut(self, tenant: TenantContext, handle: Handle, *, claim: Claim) -> None: ...

    def open(self, tenant: TenantContext, handle: Handle, *, claim: Claim) -> None: ...

    def ajar(self, tenant: TenantContext, handle: Handle) -> Iterator[Finding]: ...


TIERS: dict[Tier, TierOfRows] = {
    Tier.POOL: PoolTier(),
    Tier.SCHEMA: SchemaTier(),
    Tier.DATABASE: DedicatedTier(),
}
DOORS: dict[Tier, TierWithDoors] = {Tier.POOL: PoolTier()}
"""In the other tiers nobody but the tenant's own role comes in: that is shut, and the tables with it."""


class TenantDatabase:
    """The provider of what holds a tenant's rows, whichever tier it is in."""

    kind = ResourceKind.DATABASE

    def plan(self, tenant: TenantContext) -> Handle:
        """Names, and the release it will be a copy of. Raises NoRelease."""
        if tenant.tier == Tier.POOL:
            release = pool_release(tenant)
        elif (current := current_release()) is not None:
            release = current.name
        else:
            raise NoRelease
        return {
            "cluster": tenant.cluster,
            "database": tenant.database,
            "schema": tenant.schema,
            "release": release,
        }

    def provision(self, tenant: TenantContext, handle: Handle, *, claim: Claim) -> None:
        TIERS[tenant.tier].provision(tenant, handle, claim=claim)

    def verify(self, tenant: TenantContext, handle: Handle) -> Iterator[Finding]:
        return TIERS[tenant.tier].verify(tenant, handle)

    def count(self, tenant: TenantContext, handle: Handle) -> int:
        return TIERS[tenant.tier].count(tenant, handle)

    def erase(self, tenant: TenantContext, handle: Handle, *, limit: int) -> int:
        return TIERS[tenant.tier].erase(tenant, handle, limit=limit)

    def deprovision(self, tenant: TenantContext, handle: Handle, *, claim: Claim) -> None:
        TIERS[tenant.tier].deprovision(tenant, handle, claim=claim)

    def shut(self, tenant: TenantContext, handle: Handle, *, claim: Claim) -> None:
        if (doors := DOORS.get(tenant.tier)) is not None:
            doors.shut(tenant, handle, claim=claim)

    def open(self, tenant: TenantContext, handle: Handle, *, claim: Claim) -> None:
        if (doors := DOORS.get(tenant.tier)) is not None:
            doors.open(tenant, handle, claim=claim)

    def ajar(self, tenant: TenantContext, handle: Handle) -> Iterator[Finding]:
        if (doors := DOORS.get(tenant.tier)) is not None:
            yield from doors.ajar(tenant, handle)


def connect(tenant: TenantContext) -> Connection:
    """A connection that is already this tenant: its login role, its schema as the search path.

    In a pool it is the tenant until its first transaction ends, which has begun already. Raises ServerUnavailable, or
    Secret.DoesNotExist before the role is made.
    """
    with server_errors(tenant.slug):
        connection = log_in(tenant, *LoginRole().login(tenant))
        try:
            if tenant.tier == Tier.POOL:
                enter(connection, tenant)
        except BaseException:  # its door is shut
            connection.close()
            raise
        return connection


def fingerprint(tenant: TenantContext) -> str:
    """The hash of the shape of the tenant's schema as it is now. Raises ServerUnavailable."""
    cluster = Cluster.objects.get(name=tenant.cluster)
    with server_errors(cluster.name), connect_to_cluster(cluster, database=tenant.database) as connection:
        return fingerprints.fingerprint(connection, tenant.schema)


__all__ = ["TIERS", "LoginRole", "TenantDatabase", "connect", "fingerprint"]
