"""Tenants in every tier, taken along the real path to the next release and back, by a whole rollout."""

from collections.abc import Iterator

import pytest
from psycopg import sql

from controlplane.stack.embedded import Stack
from provisioning import lifecycle
from provisioning.databases import blueprint
from provisioning.databases.servers import connect, run
from provisioning.models import Release, Rollout
from provisioning.rollout.bringing import place_of
from provisioning.rollout.drift import Selection, State
from tenants.models import Pool, Tenant
from tenants.states import Tier
from tests.fleet import BILLING, onboarded
from tests.pools import pool_apart
from tests.provisioning.rollout.building import approved, driven, states
from tests.shelf import Shelf

pytestmark = pytest.mark.long

BOOK = """
    migrations.CreateModel("Book", [
        ("id", models.BigAutoField(primary_key=True)), ("title", models.CharField(max_length=50)),
        ("pages", models.IntegerField(default=1))])
"""
COUNT = """
def counted(apps, schema_editor):
    Book = apps.get_model("{app}", "Book")
    for book in Book.objects.annotate(pages_there=models.Count("pages")):  # grouped by the key, which a pool's is not
        book.letters = len(book.title)
        book.save()
"""
LETTERS = """
    migrations.AddField("Book", "letters", models.IntegerField(default=0)),
    migrations.RunPython(counted, migrations.RunPython.noop),
    migrations.AddIndex("Book", models.Index(fields=["letters"], name="book_letters")),
"""
OTHER_TIERS = (Tier.SCHEMA, Tier.DATABASE)


@pytest.fixture
def pool(house: None, stack: Stack, shelf: Shelf) -> Iterator[Pool]:
    """Of the shelf's first release, for two tenants."""
    shelf.write("0001_books", BOOK)
    blueprint.publish(actor=BILLING)
    with pool_apart(stack) as pool:
        Pool.objects.exclude(pk=pool.pk).update(ready_at=None)  # of another application, and none of this fleet's
        yield pool


@pytest.fixture
def tenants(pool: Pool, shelf: Shelf) -> list[Tenant]:
    """Each with the books `a` and `bb`."""
    made = [onboarded(f"{tier}-acme", tier) for tier in Tier] + [onboarded("pool-globex", Tier.POOL)]
    for tenant in made:
        for title in ("a", "bb"):
            asked(tenant, sql.SQL("INSERT INTO {} (title, pages) VALUES ({}, 1)").format(books(shelf), title))
    return made


def books(shelf: Shelf) -> sql.Identifier:
    return sql.Identifier(f"{shelf.name}_book")


def asked(tenant: Tenant, query: sql.Composed) -> list[tuple[object, ...]]:
    """As the owner of the tenant's tables, in a pool as the tenant."""
    from provisioning.databases import guard

    context = tenant.context()
    placed = tenant.placements.get(active=True)
    with connect(placed.cluster, database=context.database) as connection, connection.transaction():
        if context.tier == Tier.POOL:
            guard.enter(connection, context)
        run(connection, sql.SQL("SET LOCAL search_path = {}").format(sql.Identifier(context.schema)))
        return run(connection, query)


def letters(tenant: Tenant, shelf: Shelf) -> list[tuple[object, ...]]:
    return asked(tenant, sql.SQL("SELECT title, letters FROM {} ORDER BY title").format(books(shelf)))


def on(tenants: list[Tenant]) -> set[str]:
    return set(Tenant.objects.filter(pk__in=[tenant.pk for tenant in tenants]).values_list("release", flat=True))


def standing() -> set[State]:
    return {standing.state for standing in lifecycle.survey_drift(lifecycle.targets_of(Selection()))}


def rolled_out(release: Release) -> Rollout:
    rollout = driven(approved(release, canary=["schema-acme"], waves=[{"percent": 100}]))
    failures = list(rollout.targets.exclude(error=None).values_list("error", flat=True))
    assert (rollout.state, failures) == ("succeeded", [])
    return rollout


def test_a_release_with_data_reaches_every_tier_and_goes_back(tenants: list[Tenant], shelf: Shelf) -> None:
    first = Release.objects.get(current=True)
    shelf.write("0002_letters", LETTERS, before="0001_books", head=COUNT.replace("{app}", shelf.name))
    second = blueprint.publish(actor=BILLING)
    rollout = rolled_out(second)
    assert states(rollout) == {"succeeded": 3}  # two tenants of one pool are one target
    assert on(tenants) == {second.name}
    assert [letters(tenant, shelf) for tenant in tenants] == [[("a", 1), ("bb", 2)]] * 4
    assert standing() == {State.AS_RELEASED}
    born = onboarded("born-later", Tier.SCHEMA)
    assert (born.release, letters(born, shelf)) == (second.name, [])

    assert states(rolled_out(first)) == {"succeeded": 4}
    assert on([*tenants, born]) == {first.name}
    for tenant in tenants:
        titles = asked(tenant, sql.SQL("SELECT * FROM (SELECT title FROM {} ORDER BY 1) AS t").format(books(shelf)))
        assert titles == [("a",), ("bb",)]
    assert standing() == {State.AS_RELEASED}
    assert states(rolled_out(second)) == {"succeeded": 4}
    assert [letters(tenant, shelf) for tenant in tenants] == [[("a", 1), ("bb", 2)]] * 4
    assert standing() == {State.AS_RELEASED}


def test_a_second_rollout_finds_nothing_to_do(tenants: list[Tenant], shelf: Shelf) -> None:
    shelf.write("0002_letters", LETTERS, before="0001_books", head=COUNT.replace("{app}", shelf.name))
    second = blueprint.publish(actor=BILLING)
    rolled_out(second)
    assert states(rolled_out(second)) == {}


def test_what_drifted_fails_alone_and_is_accepted_or_repaired(tenants: list[Tenant], shelf: Shelf) -> None:
    drifted = [tenant for tenant in tenants if not tenant.slug.startswith("pool")]
    for tenant in drifted:
        asked(tenant, sql.SQL("SET LOCAL ROLE tenure_owner; ALTER TABLE {} ADD COLUMN mine text").format(books(shelf)))
    shelf.write("0002_letters", LETTERS, before="0001_books", head=COUNT.replace("{app}", shelf.name))
    second = blueprint.publish(actor=BILLING)
    rollout = driven(approved(second, waves=[{"percent": 100}], max_failures={"percent": 100}))
    assert (rollout.state, states(rollout)) == ("paused", {"succeeded": 1, "failed": 2})
    for target in rollout.targets.filter(state="failed"):
        assert target.error is not None
        assert (target.error["class"], target.error["code"]) == ("drift", "SHAPE_DIFFERS")
        assert f"unexpected column {shelf.name}_book.mine" in target.error["difference"]
        assert place_of(target).tier in OTHER_TIERS
    adopted, repaired = drifted
    lifecycle.adopt_drift(target=lifecycle.target_named(adopted.slug), reason="theirs", actor=BILLING)
    asked(repaired, sql.SQL("SET LOCAL ROLE tenure_owner; ALTER TABLE {} DROP COLUMN mine").format(books(shelf)))
    lifecycle.retry_failed(rollout, reason="mended", actor=BILLING)
    rollout = driven(rollout)
    assert (rollout.state, states(rollout)) == ("succeeded", {"succeeded": 3})
    assert [letters(tenant, shelf) for tenant in tenants] == [[("a", 1), ("bb", 2)]] * 4
    assert standing() == {State.AS_RELEASED, State.ADOPTED}
