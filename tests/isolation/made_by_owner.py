"""AT-08 and AT-09: what an application's own migration could put beside a pooled table, and what is granted of it."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from psycopg import sql

from provisioning.databases import pooling
from provisioning.databases.ddl import OWNER
from provisioning.databases.pooling.boundary import closed
from tenants.placement import pool_group
from tests.isolation.arena import Arena
from tests.isolation.attack import Attempt
from tests.isolation.rows import attempts

MADE = """
    SET ROLE {owner};
    CREATE TABLE parted (LIKE projects_project INCLUDING DEFAULTS) PARTITION BY LIST (tenant_id);
    CREATE TABLE leaf PARTITION OF parted DEFAULT;
    {closed};
    CREATE VIEW seen AS SELECT name FROM projects_project;
    RESET ROLE;
    CREATE VIEW seen_by_all AS SELECT name FROM projects_project;
    CREATE MATERIALIZED VIEW kept AS SELECT name FROM projects_project;
    CREATE FUNCTION told() RETURNS SETOF text LANGUAGE sql SECURITY DEFINER
        AS 'SELECT name FROM {schema}.projects_project';
    REVOKE ALL ON FUNCTION told FROM PUBLIC;
    INSERT INTO parted SELECT * FROM projects_project;
"""
GONE = "DROP FUNCTION told; DROP VIEW seen, seen_by_all; DROP MATERIALIZED VIEW kept; DROP TABLE parted"


@contextmanager
def beside(arena: Arena) -> Iterator[None]:
    """Of a superuser's, except for a partitioned table and a view of the owner's; granted is what passes the check."""
    names = {"schema": sql.Identifier(arena.acme.schema), "owner": sql.Identifier(OWNER)}
    with arena.superuser() as superuser:
        superuser.execute(sql.SQL("SET search_path = {schema}").format(**names))
        superuser.execute(sql.SQL(MADE).format(closed=sql.SQL("; ".join(closed("parted"))), **names))
        try:
            with superuser.transaction():
                pooling.grant(superuser, arena.acme.schema, group_of(arena))
            yield
        finally:
            superuser.execute(GONE)


def group_of(arena: Arena) -> str:
    assert arena.acme.pool_id is not None
    return pool_group(arena.acme.pool_id)


def read_leaf(arena: Arena) -> Iterable[Attempt]:
    denied = "42501 permission denied for table"
    return attempts(
        arena,
        ("the leaf", denied, "SELECT name FROM leaf"),
        ("by its schema", denied, 'SELECT name FROM "{schema}".leaf'),
        ("the parent", denied, "SELECT name FROM parted"),
    )


def look_through(arena: Arena) -> Iterable[Attempt]:
    return attempts(
        arena,
        ("the owner's view", "42501 permission denied for view|^\\[\\('acmes", "SELECT name FROM seen"),
        ("a superuser's view", "42501 permission denied for view", "SELECT name FROM seen_by_all"),
        ("a materialized view", "42501 permission denied for materialized view", "SELECT name FROM kept"),
        ("a function of its definer's", "42501 permission denied for function", "SELECT told()"),
    )
