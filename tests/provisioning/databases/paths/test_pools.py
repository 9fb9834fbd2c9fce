"""A recorded path in a real pool, where two tenants have rows."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from controlplane.stack.embedded import Stack
from provisioning.databases import ddl, guard, pooling
from provisioning.databases.blueprint import publish
from provisioning.databases.fingerprint import fingerprint
from provisioning.databases.paths import path_between
from provisioning.databases.servers import Connection, connect, run
from provisioning.models import Release, ReleasePath
from tenants.context import TenantContext
from tenants.models import Cluster, Pool
from tenants.states import Tier
from tests.fleet import BILLING
from tests.pools import pool_apart
from tests.provisioning.databases.conftest import MakeTenant
from tests.shelf import Shelf

pytestmark = pytest.mark.long

KEY = '("id", models.BigAutoField(primary_key=True))'
SHELVES = f"""
    migrations.CreateModel("Case", [{KEY}]),
    migrations.CreateModel("Book", [{KEY}, ("case", models.ForeignKey("Case", models.CASCADE, db_constraint=False))])
"""


@pytest.fixture
def first(house: None, shelf: Shelf) -> Release:
    shelf.write("0001", SHELVES)
    return publish(actor=BILLING)


@pytest.fixture
def pool(first: Release, stack: Stack) -> Iterator[Pool]:
    with pool_apart(stack) as pool:
        yield pool


@pytest.fixture
def provisioner(cluster: Cluster) -> Iterator[Connection]:
    with connect(cluster) as connection:
        yield connection


def write(connection: Connection, tenant: TenantContext, statement: str) -> None:
    with connection.transaction():
        guard.enter(connection, tenant)
        run(connection, sql.SQL("SET LOCAL search_path = {}").format(sql.Identifier(tenant.schema)))
        run(connection, statement)


def replay(connection: Connection, pool: Pool, path: ReleasePath) -> None:
    texts = [act["text"] for step in path.pool_migrations for act in step["acts"]]
    with connection.transaction():
        run(connection, ddl.become_owner())
        run(connection, sql.SQL("SET LOCAL search_path = {}").format(sql.Identifier(pool.schema)))
        for text in texts:
            run(connection, text.replace(path.target.placeholder, pool.schema))


def test_a_foreign_key_is_added_over_rows_of_many_tenants(
    first: Release, shelf: Shelf, pool: Pool, tenant: MakeTenant, provisioner: Connection
) -> None:
    """It finds the row of globex that leads to a case of acme's; mended, each tenant has the key to its own."""
    n = shelf.name
    acme, globex = (tenant(slug, Tier.POOL, role=False).context for slug in ("acme", "globex"))
    write(provisioner, acme, f"INSERT INTO {n}_case VALUES (1), (2); INSERT INTO {n}_book (id, case_id) VALUES (1, 2)")
    write(provisioner, globex, f"INSERT INTO {n}_case VALUES (1); INSERT INTO {n}_book (id, case_id) VALUES (1, 2)")
    shelf.write(
        "0002", 'migrations.AlterField("Book", "case", models.ForeignKey("Case", models.CASCADE))', before="0001"
    )
    path = path_between(first, publish(actor=BILLING))
    assert path.pool_refusals == []
    (step,) = path.pool_migrations
    assert [act["unforced"] for act in step["acts"] if "FOREIGN KEY" in act["text"]] == [[f"{n}_book", f"{n}_case"]]

    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        replay(provisioner, pool, path)
    write(provisioner, globex, f"UPDATE {n}_book SET case_id = 1")
    replay(provisioner, pool, path)

    assert fingerprint(provisioner, pool.schema) == path.target.pool_fingerprint
    assert [fault for fault in pooling.faults(provisioner, pool.schema) if fault.code == "POOL_ROW_SECURITY_OFF"] == []
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        write(provisioner, globex, f"UPDATE {n}_book SET case_id = 2; SET CONSTRAINTS ALL IMMEDIATE")
    write(provisioner, acme, f"UPDATE {n}_book SET case_id = 1")


def test_a_release_that_cannot_be_pooled_refuses_its_paths_in_pools_alone(first: Release, shelf: Shelf) -> None:
    shelf.write("0002", f'migrations.RunSQL("CREATE TABLE {shelf.name}_copy AS SELECT 1 AS one")', before="0001")
    path = path_between(first, second := publish(actor=BILLING))
    assert (path.refusals, len(path.migrations)) == ([], 1)
    assert [refusal["reason"] for refusal in path.pool_refusals] == [f"The release {second} cannot be pooled."]


def test_a_name_that_the_server_chose_is_the_same_in_a_pool(first: Release, shelf: Shelf) -> None:
    """The key is not named, so the next statement that drops it must find it by the name a plain schema gives."""
    n = shelf.name
    shelf.write(
        "0002",
        f'migrations.RunSQL("ALTER TABLE {n}_case ADD UNIQUE (id); ALTER TABLE {n}_case ADD UNIQUE (id) DEFERRABLE"),'
        f' migrations.RunSQL("ALTER TABLE {n}_case DROP CONSTRAINT {n}_case_id_key1")',
        before="0001",
    )
    path = path_between(first, publish(actor=BILLING))
    assert (path.refusals, path.pool_refusals) == ([], [])
    assert len(path.pool_migrations[0]["acts"]) == 3
