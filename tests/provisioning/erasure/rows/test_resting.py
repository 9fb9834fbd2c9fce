"""The checks behind foreign keys rest where they would find nothing, and nowhere else."""

from collections.abc import Iterator

import psycopg
import pytest

from provisioning.databases.erasing import resting
from provisioning.databases.fitness import check_cluster
from provisioning.databases.servers import session, url_of
from provisioning.erasure.collateral import hashes_of, refuse_difference
from tenants.models import Pool
from tenants.states import Tier
from tests.provisioning.databases.conftest import MakeTenant
from tests.provisioning.erasure.rows.erasing import all_of, counted, erased

pytestmark = pytest.mark.long

TABLES = """
    SELECT array_agg(c.relname::text) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE a.attname = 'tenant_id' AND c.relkind = 'r' AND c.relnamespace = to_regnamespace(%s)
"""
FIRES = """
    CREATE SEQUENCE {schema}.fired; GRANT USAGE ON SEQUENCE {schema}.fired TO PUBLIC;
    CREATE FUNCTION {schema}.fire() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN PERFORM nextval('{schema}.fired'); RETURN OLD; END $$;
    CREATE TRIGGER fires BEFORE DELETE ON {schema}.projects_tag FOR EACH ROW EXECUTE FUNCTION {schema}.fire()
"""
WATCHED = {
    "by a trigger of the application": FIRES,
    "by a rule of the application": (
        "CREATE RULE kept AS ON DELETE TO {schema}.projects_tag WHERE OLD.name = 'kept' DO INSTEAD NOTHING"
    ),
    "by a table elsewhere": (
        "CREATE TABLE public.refers (tenant_id uuid, tag bigint,"
        " FOREIGN KEY (tenant_id, tag) REFERENCES {schema}.projects_tag (tenant_id, id))"
    ),
    "by a table that nobody deletes from": (
        "CREATE TABLE {schema}.refers (whose uuid, tag bigint,"
        " FOREIGN KEY (whose, tag) REFERENCES {schema}.projects_tag (tenant_id, id))"
    ),
    "by a key that leads to others' rows": (
        "CREATE UNIQUE INDEX lone ON {schema}.projects_tag (id); CREATE TABLE {schema}.refers"
        " (tenant_id uuid, tag bigint REFERENCES {schema}.projects_tag (id))"
    ),
}
UNDONE = """
    DROP TABLE IF EXISTS public.refers; DROP TABLE IF EXISTS {schema}.refers; DROP INDEX IF EXISTS {schema}.lone;
    DROP RULE IF EXISTS kept ON {schema}.projects_tag; DROP TRIGGER IF EXISTS fires ON {schema}.projects_tag;
    DROP FUNCTION IF EXISTS {schema}.fire; DROP SEQUENCE IF EXISTS {schema}.fired
"""


@pytest.fixture(autouse=True)
def undone(own_pool: Pool, superuser: psycopg.Connection) -> Iterator[None]:
    yield
    superuser.execute(UNDONE.format(schema=own_pool.schema).encode())


def may_rest(pool: Pool) -> bool:
    with session(pool.cluster) as connection:
        ((tables,),) = connection.execute(TABLES, (pool.schema,)).fetchall()
        return resting.may_rest(connection, pool.schema, tables, column="tenant_id")


def test_they_rest_in_a_pool_as_it_is_compiled(own_pool: Pool) -> None:
    assert may_rest(own_pool)


@pytest.mark.parametrize("statement", WATCHED.values(), ids=WATCHED.keys())
def test_they_are_made_where_a_table_is_watched(statement: str, own_pool: Pool, superuser: psycopg.Connection) -> None:
    superuser.execute(statement.format(schema=own_pool.schema).encode())
    assert not may_rest(own_pool)


def test_a_trigger_of_the_application_is_called(
    own_pool: Pool, tenant: MakeTenant, superuser: psycopg.Connection
) -> None:
    acme, globex = tenant("acme", Tier.POOL), tenant("globex", Tier.POOL)
    superuser.execute(FIRES.format(schema=own_pool.schema).encode())
    insert = f"INSERT INTO {own_pool.schema}.projects_tag (tenant_id, name) VALUES (%s, 'one'), (%s, 'two')"
    superuser.execute(insert.encode(), (acme.context.tenant_id,) * 2)
    theirs = hashes_of(globex.context)
    erased(all_of(acme), ["pool_rows"])
    fired = superuser.execute(f"SELECT last_value FROM {own_pool.schema}.fired".encode()).fetchone()
    assert fired is not None
    assert fired[0] >= 2
    refuse_difference(theirs, hashes_of(globex.context), whose=globex.context.tenant_id)


def test_where_the_right_was_not_lent_they_are_made_and_it_is_asked_for(
    own_pool: Pool, tenant: MakeTenant, superuser: psycopg.Connection
) -> None:
    def cures() -> list[str]:
        findings = check_cluster(url_of(own_pool.cluster))
        return [each.hint.partition(": ")[2] for each in findings if each.code == "CHECKS_CANNOT_REST"]

    assert cures() == []
    acme = tenant("acme", Tier.POOL)
    superuser.execute(f"REVOKE SET ON PARAMETER {resting.PARAMETER} FROM tenure_provisioner")
    try:
        assert not may_rest(own_pool)
        assert erased(all_of(acme), ["pool_rows"]) > 0
        assert counted(all_of(acme), ["pool_rows"]) == {}
        superuser.execute(cures()[0].encode())  # what a person would paste
    finally:
        superuser.execute(resting.lend("tenure_provisioner"))
    assert may_rest(own_pool)
    assert cures() == []
