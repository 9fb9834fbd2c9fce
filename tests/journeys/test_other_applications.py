"""Two more applications from PyPI, unmodified, with two tenants at work in each tier at once.

Oscar is a shop of 152 migrations, 12 of their operations in Python, with one materialized view. Procrastinate is a
queue of 55 migrations, 38 of them in SQL alone: types, functions, triggers, partial unique indexes.
"""

from typing import Any

import pytest

from controlplane.stack.embedded import Stack
from tenants.states import Tier
from tests.applications import running

PACKAGES = ("tests.applications.shop", "tests.applications.jobs")
TIERS = tuple(str(tier) for tier in Tier)

pytestmark = [pytest.mark.drawn(1, among="other people's applications"), pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def shop(stack: Stack, migrated: None) -> running.Told:
    return running.told(stack, PACKAGES[0])


@pytest.fixture(scope="module")
def jobs(stack: Stack, migrated: None) -> running.Told:
    return running.told(stack, PACKAGES[1])


@pytest.fixture(params=["shop", "jobs"])
def application(request: pytest.FixtureRequest) -> running.Told:
    told: running.Told = request.getfixturevalue(request.param)
    return told


@pytest.mark.parametrize("tier", TIERS)
def test_each_tenant_finds_its_own_traces_and_none_of_the_other(application: running.Told, tier: str) -> None:
    """Asked of every table, after both have worked: which rows hold my name, and which the other's?"""
    for story in application[tier].values():
        assert story["traces"]["others"] == {}
        assert len(story["traces"]["own"]) > 1


@pytest.mark.parametrize("tier", TIERS)
def test_both_tenants_have_the_same_day(application: running.Told, tier: str) -> None:
    acme, globex = application[tier].values()
    for chapter in ("work", "visit", "reckon"):
        assert running.without_names(acme[chapter]) == running.without_names(globex[chapter])


def test_the_day_is_the_same_in_every_tier(application: running.Told) -> None:
    """So a tenant can move, and nobody has to know in which tier an application runs."""
    days = [running.without_names(next(iter(pair.values()))) for pair in application.values()]
    assert len(days) == len(TIERS)
    assert all(day == days[0] for day in days)


def test_a_shop_sells(shop: running.Told) -> None:
    day = shop["pool"]["acme-pool"]
    assert day["work"]["tree"] == ["Books", "  acme-pool fiction"]
    assert day["work"]["stock"] == [["sku-0", 20], ["sku-1", 20], ["sku-2", 20]]
    assert day["visit"]["placed"] == ["/checkout/thank-you/", 200]
    assert day["visit"]["products seen"] == [f"acme-pool book {number}" for number in range(3)]
    assert day["reckon"]["orders"] == [["eve@acme-pool.example", "32.00", "1 acme-pool Street"]]
    assert day["reckon"]["best"] == [["acme-pool book 1", 2, 5.0, 1]]


def test_what_is_unique_in_one_shop_may_be_in_another_too(shop: running.Told) -> None:
    for story in shop["pool"].values():
        assert story["work"]["refused"] == ["upc", "voucher", "username"]
        assert story["reckon"]["vouchers"] == [["WELCOME", 1, 1]]


def test_a_deleted_book_takes_its_own_with_it_and_leaves_the_order(shop: running.Told) -> None:
    left: dict[str, Any] = shop["pool"]["globex-pool"]["reckon"]["left"]
    assert left["products"] == left["stock"] == 2
    assert (left["reviews"], left["lines without a product"]) == (0, 1)


def test_a_queue_runs_its_own_tenants_jobs(jobs: running.Told) -> None:
    day = jobs["pool"]["acme-pool"]["work"]
    assert day["waiting"] == [
        ["welcome", "todo", 2],
        ["welcome", "todo", 0],
        ["welcome", "todo", 0],
        ["fail", "todo", -1],
        ["welcome", "todo", 0],
    ]
    assert [status for _task, status, _attempts in day["done"]] == [*["succeeded"] * 3, "failed", "succeeded"]
    assert day["workers left"] == 0
    assert day["users"] == sorted(f"{name}@acme-pool.example" for name in ("eve", "bob", "joe", "monday of acme-pool"))


def test_equal_locks_meet_in_one_queue_only(jobs: running.Told) -> None:
    for story in jobs["pool"].values():
        assert (story["work"]["enqueued twice"], story["work"]["enqueued again"]) == (True, False)
        assert story["work"]["by the clock"] == [True, False]
