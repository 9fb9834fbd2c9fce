"""A folder of SQL files as the tenant application: published, onboarded in every tier, rolled out and taken back."""

import base64
import time
from collections.abc import Iterator
from decimal import Decimal
from hashlib import sha256
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from controlplane.stack.embedded import Stack
from provisioning import lifecycle
from provisioning.databases import tiers
from provisioning.databases.blueprint import publish
from provisioning.databases.fingerprint import shape
from provisioning.databases.paths import path_between
from provisioning.databases.recording import MigrationFailed
from provisioning.databases.servers import connect, run
from provisioning.models import Release, ReleasePath
from provisioning.rollout.drift import Selection, State
from tenants.models import Pool, Tenant
from tenants.states import Tier
from tests.fleet import BILLING, onboarded
from tests.pools import pool_apart
from tests.provisioning.databases.sqlfiles.conftest import Folder
from tests.provisioning.rollout.building import approved, driven, states

pytestmark = pytest.mark.long

ORDER = """
    INSERT INTO customer (name, email) VALUES ({name}, {email});
    INSERT INTO orders (customer_id) SELECT id FROM customer;
    INSERT INTO order_line (order_id, product_id, quantity)
        SELECT orders.id, product.id, 2 FROM orders CROSS JOIN product WHERE price > 1.5
"""
STORY = """
    SELECT customer.name, total, lines, orders.state::text, (SELECT count(*) FROM product)
    FROM orders JOIN customer ON customer.id = customer_id JOIN order_total ON order_id = orders.id
"""
DISCOUNTS = "SELECT name, discount, discounted(3.50, discount) FROM customer"


@pytest.fixture
def nine(house: None, folder: Folder) -> Release:
    folder(9)
    return publish("nine-files", actor=BILLING)


@pytest.fixture
def first(nine: Release, folder: Folder) -> Release:
    folder(10)
    return publish("ten-files", actor=BILLING)


@pytest.fixture
def pool(first: Release, stack: Stack) -> Iterator[Pool]:
    """For two tenants. The example application's own is none of a rollout's business."""
    Pool.objects.update(ready_at=None)
    with pool_apart(stack) as pool:
        yield pool


@pytest.fixture
def tenants(pool: Pool) -> list[Tenant]:
    """Each with one order of its own customer, whose name is the tenant's."""
    made = [onboarded(f"{tier}-acme", tier) for tier in Tier] + [onboarded("pool-globex", Tier.POOL)]
    for tenant in made:
        asked(tenant, sql.SQL(ORDER).format(name=tenant.slug, email="all@example.org"))
    return made


def asked(tenant: Tenant, query: sql.Composed | str) -> list[tuple[object, ...]]:
    """As the tenant itself, with its login role."""
    with tiers.connect(tenant.context()) as session:
        return run(session, query)


def lines(tenant: Tenant) -> list[str]:
    placed = tenant.placements.get(active=True)
    with connect(placed.cluster, database=tenant.context().database) as connection:
        return shape(connection, tenant.context().schema)


def standing() -> set[State]:
    return {each.state for each in lifecycle.survey_drift(lifecycle.targets_of(Selection()))}


def rolled_out(release: Release) -> dict[str, int]:
    rollout = driven(approved(release, canary=["schema-acme"], waves=[{"percent": 100}]))
    failures = list(rollout.targets.exclude(error=None).values_list("error", flat=True))
    assert (rollout.state, failures) == ("succeeded", [])
    return states(rollout)


def test_ten_files_are_a_release_that_can_be_pooled(first: Release) -> None:
    assert (first.apps, first.pool_refusals, len(first.files)) == ([], [], 10)
    recorded = list(first.migrations.order_by("position"))
    assert [str(each) for each in recorded[:2]] == ["sql.0001_types", "sql.0002_customers"]
    assert [each.name for each in recorded if not each.atomic] == ["0010_search"]
    kinds = {each.name: {operation["kind"] for operation in each.operations} for each in recorded}
    assert {name for name, found in kinds.items() if found == {"data"}} == {"0009_first_products"}
    where = [(operation["operation"], operation["description"]) for operation in recorded[6].operations]
    assert where == [
        ("line 1", "0007_count_lines.sql"),
        ("line 7", "0007_count_lines.sql"),
        ("end of migration", ""),  # the function is told where to look names up
    ]


def test_what_has_run_is_kept_as_django_keeps_it(house: None, folder: Folder) -> None:
    django = Release.objects.get(current=True)
    folder(1)
    files = publish(actor=BILLING)
    kept = [[line for line in release.shape if "django_migrations" in line] for release in (django, files)]
    assert kept[0] == kept[1] != []


def test_a_change_of_kind_is_no_path(house: None, folder: Folder) -> None:
    django = Release.objects.get(current=True)
    folder(1)
    files = publish(actor=BILLING)
    for path in (path_between(django, files), path_between(files, django)):
        assert [refusal["reason"] for refusal in path.refusals] == [
            f"One of {path.source} and {path.target} is made of SQL files, the other by Django's migrations."
        ]


def test_tenants_of_every_tier_have_their_own_rows(tenants: list[Tenant]) -> None:
    for tenant in tenants:
        assert asked(tenant, STORY) == [(tenant.slug, 7, 1, "open", 2)]
    assert standing() == {State.AS_RELEASED}


def test_an_application_without_the_kit_says_for_whom_it_works(pool: Pool) -> None:
    """As docs/sql-releases.md has it, with what the API hands out."""
    acme, globex = onboarded("acme", Tier.POOL), onboarded("globex", Tier.POOL)
    asked(acme, sql.SQL(ORDER).format(name="acme", email="a@example.org"))
    for tenant, customers in ((acme, [("acme",)]), (globex, [])):
        given = lifecycle.hand_out_credentials(tenant=tenant, actor=BILLING).database
        assert given.context_key is not None
        handed_out = given.context_key.as_json()
        key, expires = base64.urlsafe_b64decode(handed_out["key"]), int(time.time()) + 30
        inner = sha256(key + b"Tuse" + expires.to_bytes(8, "big")).digest()
        ticket = (str(tenant.pk), str(tenant.incarnation), expires, handed_out["version"], sha256(key + inner).digest())
        address = make_conninfo(host=given.host, port=given.port, dbname=given.name, user=given.user)
        options = f"-c search_path={given.schema}"
        with psycopg.connect(address, password=given.password, options=options) as session:
            session.execute("SELECT tenure_guard.enter('use', %s, %s, %s, %s, %s)", ticket)
            assert session.execute("SELECT name FROM customer").fetchall() == customers


def test_two_more_files_reach_every_tier_and_are_taken_back(
    tenants: list[Tenant], first: Release, nine: Release, folder: Folder
) -> None:
    folder(12)
    second = publish("twelve-files", actor=BILLING)
    assert rolled_out(second) == {"succeeded": 3}  # two tenants of one pool are one target
    born = {tier: onboarded(f"{tier}-born", tier) for tier in (Tier.SCHEMA, Tier.DATABASE)}
    for tenant in tenants:
        assert asked(tenant, DISCOUNTS) == [(tenant.slug, 5, Decimal("3.33"))]  # of 3.50, rounded
        assert asked(tenant, STORY) == [(tenant.slug, 7, 1, "open", 3)]
        if (twin := born.get(Tier(tenant.context().tier))) is not None:
            assert lines(tenant) == lines(twin)
    assert standing() == {State.AS_RELEASED}

    for earlier in (first, nine):  # the tenth file is not run in a transaction
        assert rolled_out(earlier) == {"succeeded": 5}
        for tenant in tenants:
            assert asked(tenant, STORY) == [(tenant.slug, 7, 1, "open", 2)]
        assert standing() == {State.AS_RELEASED}
        assert rolled_out(second) == {"succeeded": 5}
        assert [asked(tenant, STORY)[0][-1] for tenant in tenants] == [3] * 4
        assert standing() == {State.AS_RELEASED}


def test_a_file_without_a_way_back_is_refused_until_it_has_one(house: None, folder: Folder) -> None:
    place = folder(9)
    first = publish(actor=BILLING)
    (place / "0010_notes.sql").write_text("CREATE TABLE note (id bigint PRIMARY KEY);\n")
    second = publish(actor=BILLING)
    (refusal,) = path_between(second, first).refusals
    assert refusal["reason"] == "0010_notes.sql cannot be taken back: it has no 0010_notes.down.sql."
    assert "publish again" in refusal["instead"]

    (place / "0010_notes.down.sql").write_text("DROP TABLE note;\n")
    assert publish(actor=BILLING).pk == second.pk
    path = path_between(second, first)
    assert (path.refusals, path.pool_refusals) == ([], [])
    assert [(step["name"], step["unapply"]) for step in path.migrations] == [("0010_notes", True)]


def test_a_path_between_older_releases_needs_no_folder(house: None, folder: Folder, tmp_path: Path) -> None:
    folder(10)
    first = publish(actor=BILLING)
    folder(11)
    publish(actor=BILLING)
    place = folder(12)
    third = publish(actor=BILLING)
    place.rename(tmp_path / "elsewhere")
    there, back = path_between(first, third), path_between(third, first)
    assert (there.refusals, back.refusals) == ([], [])
    assert [step["name"] for step in there.migrations] == ["0011_discounts", "0012_regulars"]
    assert [step["name"] for step in back.migrations] == ["0012_regulars", "0011_discounts"]
    assert [act["kind"] for act in there.migrations[1]["acts"]] == ["dml", "dml"]


def test_two_branches_part_where_their_files_do(house: None, folder: Folder) -> None:
    folder(11)
    publish(actor=BILLING)
    place = folder(10)
    (place / "0011_loyalty.sql").write_text("ALTER TABLE customer ADD COLUMN loyal boolean NOT NULL DEFAULT false;\n")
    other = publish(actor=BILLING)
    path = ReleasePath.objects.get(target=other)
    assert [(step["name"], step["unapply"]) for step in path.migrations] == [
        ("0011_discounts", True),
        ("0011_loyalty", False),
    ]


def test_a_file_that_fails_is_named_with_its_line(house: None, folder: Folder) -> None:
    (folder(2) / "0003_wrong.sql").write_text("CREATE TABLE a (id bigint);\n\n-- why\nALTER TABLE b ADD c int;\n")
    with pytest.raises(MigrationFailed, match=r'^0003_wrong\.sql, line 4: relation "b" does not exist$'):
        publish("broken", actor=BILLING)
    assert Release.objects.get(name="broken").state == Release.State.FAILED
