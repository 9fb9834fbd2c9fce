"""The database tier: one database per tenant, a copy of the release's template database."""

from collections.abc import Iterator
from contextlib import contextmanager

from provisioning.databases import ddl, space
from provisioning.databases.fencing import fenced_without_transaction
from provisioning.databases.layout import template_of
from provisioning.databases.releases import release_named, release_of
from provisioning.databases.servers import HALF_DROPPED, Connection, connect, is_open, run, server_errors
from provisioning.models import Claim, Handle
from tenants.context import TenantContext
from tenants.findings import Finding, Severity
from tenants.models import Cluster


class DedicatedTier:
    """CREATE DATABASE is one act, but its grants are others: it stays closed until they are right."""

    def provision(self, tenant: TenantContext, handle: Handle, *, claim: Claim) -> None:
        cluster = Cluster.objects.get(name=handle["cluster"])
        name, release = handle["database"], release_named(handle["release"])
        with (
            template_of(release, cluster) as template,
            fenced_without_transaction(tenant, claim, cluster) as connection,
        ):
            state = _connection_limit(connection, name)
            if state == HALF_DROPPED:
                run(connection, ddl.drop_database(name))
            if state in {None, HALF_DROPPED}:
                run(connection, ddl.create_database(name, template=template))
            run(connection, ddl.open_to_granted(name))

    def verify(self, tenant: TenantContext, handle: Handle) -> Iterator[Finding]:
        with _inside(handle) as connection:
            if connection is None:
                yield Finding(
                    code="DATABASE_MISSING",
                    severity=Severity.ERROR,
                    subject=handle["database"],
                    message="The tenant's database is not there, or closed.",
                    hint="Retry the operation that makes it.",
                )
                return
            yield from _doors(connection, handle["database"])
            yield from space.faults(connection, handle["schema"], role=tenant.key, release=release_of(tenant, handle))

    def count(self, tenant: TenantContext, handle: Handle) -> int:  # noqa: ARG002  the schema is its own
        with _inside(handle) as connection:
            return 0 if connection is None else space.count(connection, handle["schema"])

    def erase(self, tenant: TenantContext, handle: Handle, *, limit: int) -> int:  # noqa: ARG002
        with _inside(handle) as connection:
            return 0 if connection is None else space.erase(connection, handle["schema"], limit=limit)

    def deprovision(self, tenant: TenantContext, handle: Handle, *, claim: Claim) -> None:
        cluster = Cluster.objects.get(name=handle["cluster"])
        with fenced_without_transaction(tenant, claim, cluster) as connection:
            run(connection, ddl.drop_database(handle["database"]))


def _connection_limit(connection: Connection, name: str) -> int | None:
    """None: there is no such database."""
    rows = run(connection, "SELECT datconnlimit FROM pg_database WHERE datname = %s", name)
    return int(rows[0][0]) if rows else None


def _doors(connection: Connection, name: str) -> Iterator[Finding]:
    """PUBLIC may connect to every new database, and a copy does not inherit its template's grants."""
    open_to_all = run(
        connection,
        "SELECT privilege_type FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba)))"
        " WHERE datname = %s AND grantee = 0",
        name,
    )
    for (right,) in open_to_all:
        yield Finding(
            code="DATABASE_OPEN_TO_ALL",
            severity=Severity.CRITICAL,
            subject=name,
            message=f"Every role of the server has {right} on the tenant's database.",
            hint=f"REVOKE ALL ON DATABASE {name} FROM PUBLIC;",
        )


@contextmanager
def _inside(handle: Handle) -> Iterator[Connection | None]:
    """A connection to the tenant's database; None when there is none, or it is still closed."""
    cluster = Cluster.objects.get(name=handle["cluster"])
    with server_errors(cluster.name), connect(cluster) as shared:
        there = is_open(shared, handle["database"])
    if not there:
        yield None
        return
    with server_errors(cluster.name), connect(cluster, database=handle["database"]) as connection:
        yield connection
