"""Pools of a test's own: the cluster outlives the control databases that know of them."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

from controlplane.stack.embedded import Stack
from tenants.models import Pool
from tenants.placement import pool_group, pool_role
from tests.fleet import lay_out_a_pool


@contextmanager
def pool_apart(stack: Stack) -> Iterator[Pool]:
    """The one that the next tenants go to. A test may spoil it; the one that all tests share is left alone."""
    Pool.objects.update(state=Pool.State.CLOSED)
    pool = lay_out_a_pool()
    try:
        yield pool
    finally:
        url = stack.superuser_url.rsplit("/", 1)[0] + "/" + pool.cluster.database
        with psycopg.connect(url, autocommit=True) as superuser:
            drop_pool(superuser, pool)


def drop_pool(superuser: psycopg.Connection, pool: Pool) -> None:
    """Whatever of it is on the cluster, rows and all."""
    superuser.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(pool.schema)))
    for role in (pool_role(pool.pk), pool_group(pool.pk)):
        if superuser.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone():
            superuser.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(role)))
