"""Pools of a test's own: the cluster outlives the control databases that know of them."""

import psycopg
from psycopg import sql

from tenants.models import Pool
from tenants.placement import pool_group, pool_role


def drop_pool(superuser: psycopg.Connection, pool: Pool) -> None:
    """Whatever of it is on the cluster, rows and all."""
    superuser.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(pool.schema)))
    for role in (pool_role(pool.pk), pool_group(pool.pk)):
        if superuser.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone():
            superuser.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(role)))
