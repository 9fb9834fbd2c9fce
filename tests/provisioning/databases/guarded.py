"""A session under the guard: a pool's login role, and what a test does with it."""

from typing import Any

import psycopg

from provisioning.databases import guard
from provisioning.databases.keeping import Keeps
from tenants.context import TenantContext
from tenants.isolation.tickets import Ticket, mint
from tests.pool_by_hand import DATABASE, SCHEMA, PoolByHand

ENTER = "SELECT tenure_guard.enter(%s, %s, %s, %s, %s, %s)"
NAMES = f"SELECT name FROM {SCHEMA}.projects_tag ORDER BY name"
INSERT = f"INSERT INTO {SCHEMA}.projects_tag (name) VALUES (%s)"

Session = psycopg.Connection[tuple[Any, ...]]


def install(by_hand: PoolByHand, keeps: Keeps | None = None) -> None:
    with by_hand.provisioner() as connection, connection.transaction():
        guard.install(connection, cluster=by_hand.cluster, database=DATABASE, keeps=keeps)


def ticket(context: TenantContext, **options: Any) -> Ticket:
    return mint(context, guard.context_key(context), **options)


def enter(session: Session, context: TenantContext, **options: Any) -> None:
    session.execute(ENTER, ticket(context, **options))


def names(session: Session) -> list[str]:
    return [name for (name,) in session.execute(NAMES)]
