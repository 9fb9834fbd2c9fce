"""Pools of a test's own: the cluster outlives the control databases that know of them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from controlplane.stack.embedded import Stack
from tenants.models import Pool
from tenants.placement import pool_group, pool_role
from tests.fleet import lay_out_a_pool


@contextmanager
def pool_apart(stack: Stack) -> Iterator[Pool]:
    """The one that the next tenants go to. A test may spoil it; the one that all tests share is left alone.

    Pools that are made on demand meanwhile are gone with it.
    """
    Pool.objects.update(state=Pool.State.CLOSED)
    with none_left(stack):
        pool = lay_out_a_pool()
        try:
            yield pool
        finally:
            with _superuser(stack) as superuser:
                drop_pool(superuser, pool)


@contextmanager
def none_left(stack: Stack) -> Iterator[None]:
    """The schemas of pools that are made inside are gone afterwards: no control database will know of them."""
    with _superuser(stack) as superuser:
        former = _schemas(superuser)
    try:
        yield
    finally:
        with _superuser(stack) as superuser:
            for schema in _schemas(superuser) - former:
                superuser.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))


def drop_pool(superuser: psycopg.Connection, pool: Pool) -> None:
    """Whatever of it is on the cluster, rows and all."""
    superuser.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(pool.schema)))
    for role in (pool_role(pool.pk), pool_group(pool.pk)):
        if superuser.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone():
            superuser.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(role)))


def _superuser(stack: Stack) -> psycopg.Connection:
    """In the cluster's shared database."""
    database = conninfo_to_dict(os.environ["CLUSTER_URL"])["dbname"]
    return psycopg.connect(stack.superuser_url, dbname=database, autocommit=True)


def _schemas(superuser: psycopg.Connection) -> set[str]:
    found = superuser.execute("SELECT nspname::text FROM pg_namespace WHERE nspname LIKE 'pool\\_%'")
    return {str(schema) for (schema,) in found}
