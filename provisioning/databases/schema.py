"""The schema tier: one schema per tenant in the cluster's shared database."""

from collections.abc import Iterator
from contextlib import contextmanager

from provisioning.databases import ddl, space
from provisioning.databases.fencing import fenced
from provisioning.databases.releases import release_named, release_of
from provisioning.databases.replay import replay
from provisioning.databases.servers import Connection, run, session
from provisioning.errors import Permanent
from provisioning.models import Claim, Handle
from tenants.context import TenantContext
from tenants.findings import Finding
from tenants.models import Cluster


class NameInUse(Permanent):
    """Something that Tenure did not make has the name of a tenant's schema."""

    code = "NAME_IN_USE"
    cure = "Find out who made it, and remove it or give it another name."


class SchemaTier:
    """One transaction makes it, rows and all: it is there and whole, or not there."""

    def provision(self, tenant: TenantContext, handle: Handle, *, claim: Claim) -> None:
        release = release_named(handle["release"])
        with fenced(tenant, claim, Cluster.objects.get(name=handle["cluster"])) as connection:
            if not (owner := space.owner_of(connection, handle["schema"])):
                replay(connection, release, handle["schema"])
            elif owner != ddl.OWNER:
                raise NameInUse(f"The schema {handle['schema']} belongs to {owner}.")

    def verify(self, tenant: TenantContext, handle: Handle) -> Iterator[Finding]:
        with _inside(handle) as connection:
            yield from space.faults(connection, handle["schema"], role=tenant.key, release=release_of(tenant, handle))

    def count(self, tenant: TenantContext, handle: Handle) -> int:  # noqa: ARG002  the schema is its own
        with _inside(handle) as connection:
            return space.count(connection, handle["schema"])

    def erase(self, tenant: TenantContext, handle: Handle, *, limit: int) -> int:  # noqa: ARG002
        with _inside(handle) as connection:
            return space.erase(connection, handle["schema"], limit=limit)

    def deprovision(self, tenant: TenantContext, handle: Handle, *, claim: Claim) -> None:
        with fenced(tenant, claim, Cluster.objects.get(name=handle["cluster"])) as connection:
            run(connection, ddl.drop_schema(handle["schema"]))


@contextmanager
def _inside(handle: Handle) -> Iterator[Connection]:
    with session(Cluster.objects.get(name=handle["cluster"])) as connection:
        yield connection
