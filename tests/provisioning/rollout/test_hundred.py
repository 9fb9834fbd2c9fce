"""A hundred targets over the real path and the real replayer; three of them are poisoned, each in its own way."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from psycopg import sql

from provisioning import lifecycle
from provisioning.databases import blueprint
from provisioning.databases.fingerprint import fingerprint
from provisioning.databases.replay import replay
from provisioning.databases.servers import connect, run
from provisioning.models import Release, Rollout
from tenants.models import Cluster, Pool, Tenant
from tenants.placement import tenant_key
from tests.fleet import BILLING
from tests.provisioning.rollout.building import (
    ALICE,
    approved,
    driven,
    inside,
    made,
    remove_schemas,
    states,
)
from tests.shelf import Shelf

BOOK = """
    migrations.CreateModel("Book", [
        ("id", models.BigAutoField(primary_key=True)), ("title", models.CharField(max_length=50))])
"""
TITLED = """
    migrations.AddField("Book", "pages", models.IntegerField(default=1)),
    migrations.AddConstraint("Book", models.CheckConstraint(condition=~models.Q(title=""), name="book_titled")),
"""
WAVES = [{"count": 9}, {"percent": 40}, {"percent": 100}]
ROW, LOCKED, COLUMN = 3, 12, 30  # of the canary's wave is none


@pytest.fixture
def tenants(house: None, shelf: Shelf) -> Iterator[list[Tenant]]:
    """A hundred schemas of the shelf's first release, each with one book."""
    Pool.objects.update(ready_at=None)  # of another application
    shelf.write("0001_books", BOOK)
    release = blueprint.publish(actor=BILLING)
    hundred = made(100, schemas=False)
    books = sql.Identifier(f"{shelf.name}_book")
    with connect(Cluster.objects.get()) as connection:
        for tenant in hundred:
            schema = tenant_key(tenant.pk)
            with connection.transaction():
                replay(connection, release, schema)
                run(connection, sql.SQL("INSERT INTO {}.{} (title) VALUES ('a')").format(sql.Identifier(schema), books))
    yield hundred
    remove_schemas()


@pytest.fixture
def next_release(tenants: list[Tenant], shelf: Shelf) -> Release:
    """A column, and a constraint that rows may violate."""
    shelf.write("0002_titled", TITLED, before="0001_books")
    return blueprint.publish(actor=BILLING)


def ask(tenant: Tenant, shelf: Shelf, statement: str) -> list[tuple[object, ...]]:
    """`{book}` is the table."""
    with inside(tenant) as connection:
        return run(connection, sql.SQL(statement).format(book=sql.Identifier(f"{shelf.name}_book")))


def books(tenant: Tenant, shelf: Shelf) -> list[tuple[object, ...]]:
    return ask(tenant, shelf, "SELECT b FROM {book} b ORDER BY id")


def shape_of(tenant: Tenant) -> str:
    with connect(Cluster.objects.get()) as connection:
        return fingerprint(connection, tenant_key(tenant.pk))


@contextmanager
def read_and_forgotten(tenant: Tenant, shelf: Shelf) -> Iterator[None]:
    """A reader's transaction that nobody ends."""
    with inside(tenant) as connection, connection.transaction():
        run(connection, sql.SQL("SELECT title FROM {}").format(sql.Identifier(f"{shelf.name}_book")))
        yield


def test_three_of_a_hundred_are_poisoned_and_mended_they_arrive(
    tenants: list[Tenant], next_release: Release, shelf: Shelf
) -> None:
    former = Release.objects.get(name=tenants[0].release)
    row, locked, column = poisoned = tenants[ROW], tenants[LOCKED], tenants[COLUMN]
    ask(row, shelf, "INSERT INTO {book} (title) VALUES ('')")
    ask(column, shelf, "ALTER TABLE {book} ADD COLUMN pages text")
    before = {tenant.slug: (shape_of(tenant), books(tenant, shelf)) for tenant in poisoned}
    with read_and_forgotten(locked, shelf):
        rollout = approved(
            next_release, canary=["t50-acme"], waves=WAVES, max_failures={"count": 2}, lock_timeout_ms=20
        )
        rollout = driven(rollout)

    canary, first, second, third = lifecycle.progress_of(rollout).waves
    assert (canary.succeeded, canary.total) == (1, 1)
    assert (rollout.state, rollout.pause_reason) == ("paused", "error_budget")
    assert rollout.pause_detail == "3 targets failed; the budget is 2."
    assert (first.succeeded, first.total) == (8, 9)
    assert second.succeeded <= second.total - 2
    assert third.succeeded == 0
    refuse_other_failures(rollout, row, locked, column)
    assert {tenant.slug: (shape_of(tenant), books(tenant, shelf)) for tenant in poisoned} == before
    assert shape_of(row) == shape_of(locked) == former.fingerprint
    released = Tenant.objects.filter(release=next_release.name)
    assert released.count() == states(rollout)["succeeded"] == canary.succeeded + first.succeeded + second.succeeded
    assert set(Tenant.objects.exclude(release=next_release.name).values_list("release", flat=True)) == {former.name}
    assert not released.filter(pk__in=[tenant.pk for tenant in poisoned]).exists()

    ask(row, shelf, "DELETE FROM {book} WHERE title = ''")
    ask(column, shelf, "ALTER TABLE {book} DROP COLUMN pages")
    rollout = driven(lifecycle.retry_failed(rollout, actor=ALICE))
    assert (rollout.state, states(rollout)) == ("succeeded", {"succeeded": 100})
    assert {shape_of(tenant) for tenant in tenants} == {next_release.fingerprint}
    assert {tuple(books(tenant, shelf)) for tenant in tenants} == {(("(1,a,1)",),)}
    assert set(Tenant.objects.values_list("release", flat=True)) == {next_release.name}

    again = driven(approved(next_release))
    assert (again.state, states(again), again.plan["there"]) == ("succeeded", {}, 100)


def refuse_other_failures(rollout: Rollout, row: Tenant, locked: Tenant, column: Tenant) -> None:
    """Exactly these three, each with what it failed at and what there is to do."""
    failed = rollout.targets.filter(state="failed").select_related("tenant")
    errors = {target.tenant.slug: target.error for target in failed if target.tenant and target.error}
    assert {slug: (error["class"], error["code"]) for slug, error in errors.items()} == {
        row.slug: ("data error", "STATEMENT_FAILED"),
        locked.slug: ("lock timeout", "LOCK_TIMEOUT"),
        column.slug: ("drift", "SHAPE_DIFFERS"),
    }
    assert all(error["detail"] and error["hint"] for error in errors.values())
    assert "book_titled" in errors[row.slug]["statement"]
    assert "0002_titled" in errors[row.slug]["migration"]
    assert "unexpected column" in errors[column.slug]["difference"]
