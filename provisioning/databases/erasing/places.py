"""Every place a tenant's rows are in, or ever were: a move between tiers may have left some behind."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from uuid import UUID

from psycopg import sql

from provisioning.databases.servers import Connection, connect, run, server_errors, session
from tenants.context import TenantContext
from tenants.models import Cluster, Placement
from tenants.states import Tier

Lease = Callable[[], None]
"""Called before each destructive request; raises when somebody else is at work, or nothing may be erased any more."""

# A statement of ours waits for nobody longer than for a moment: who queues behind it would wait with it.
LOCK_TIMEOUT, STATEMENT_TIMEOUT, IDLE_TIMEOUT = "5s", "60s", "30s"


@dataclass(frozen=True, slots=True)
class Place:
    """One schema that the tenant lives in, or once did; `context` is the tenant there, in the life that is meant."""

    cluster: Cluster
    context: TenantContext
    active: bool

    @property
    def database(self) -> str:
        return self.context.database

    @property
    def schema(self) -> str:
        return self.context.schema

    def __str__(self) -> str:
        return f"{self.cluster.name}:{self.database}/{self.schema}"


def places_of(tenant_id: UUID, incarnation: UUID, *tiers: Tier) -> list[Place]:
    """The places of these tiers, or of all, the active one last."""
    rows = Placement.objects.filter(tenant_id=tenant_id).select_related("cluster", "tenant").order_by("active", "since")
    found: dict[tuple[str, str, str], Place] = {}
    for row in rows:
        if tiers and row.tier not in tiers:
            continue
        context = replace(row.context(), incarnation=incarnation)
        found.pop((context.cluster, context.database, context.schema), None)
        found[context.cluster, context.database, context.schema] = Place(row.cluster, context, row.active)
    return list(found.values())


@contextmanager
def bounded(connection: Connection, *, statement: str = STATEMENT_TIMEOUT) -> Iterator[None]:
    """A transaction that waits for no lock, and runs for no longer, than it may."""
    with connection.transaction():
        limits = {
            "lock_timeout": LOCK_TIMEOUT,
            "statement_timeout": statement,
            "idle_in_transaction_session_timeout": IDLE_TIMEOUT,
        }
        set_one = sql.SQL("SET LOCAL {} = {}")
        run(
            connection,
            sql.SQL("; ").join(
                set_one.format(sql.Identifier(name), sql.Literal(value)) for name, value in limits.items()
            ),
        )
        yield


@contextmanager
def inside(place: Place) -> Iterator[Connection]:
    """As the provisioning role, in the database that the place is in. Raises ServerUnavailable, ServerRefused."""
    if place.database == place.cluster.database:
        with session(place.cluster) as connection:
            yield connection
    else:
        with server_errors(place.cluster.name), connect(place.cluster, database=place.database) as connection:
            yield connection
