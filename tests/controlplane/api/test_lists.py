"""Lists: every row once, whatever ties and changes; filters that mean what they say; unknown words refused."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from provisioning.models import Release
from tenants.models import Cluster, Placement, Plan, Tenant
from tenants.placement import tenant_key
from tenants.states import TenantState
from tests.controlplane.api.conftest import Caller, caller

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def reader(shared_house: None) -> Caller:
    """Sixty tenants, of which twenty share each of three moments: ties everywhere."""
    plan, cluster = Plan.objects.get(name="standard"), Cluster.objects.get()
    tenants = [
        Tenant(
            slug=f"tenant-{number:02}",
            name="Globex" if number == 7 else f"Tenant {number}",
            principal="billing",
            external_ref=f"crm-{number}",
            plan=plan,
            region="local" if number % 2 else "elsewhere",
            state=TenantState.ACTIVE if number % 3 else TenantState.FAILED,
            release="2020.1.1" if number < 5 else Release.objects.get().name,
            created_at=NOON + timedelta(hours=number % 3),
        )
        for number in range(60)
    ]
    Tenant.objects.bulk_create(tenants)
    Placement.objects.bulk_create(
        Placement(
            tenant=tenant,
            tier="schema" if number % 2 else "database",
            cluster=cluster,
            database="tenure_cluster",
            schema=tenant_key(tenant.pk),
        )
        for number, tenant in enumerate(tenants[:10])
    )
    return caller()


def slugs(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [one["slug"] for one in answer.json()["results"]]


def found(reader: Caller, query: str) -> set[str]:
    return set(slugs(reader.get(f"tenants?page_size=200&{query}")))


def pages(reader: Caller, first: str) -> list[Any]:
    answers = [reader.get(first)]
    while following := answers[-1].json()["next"]:
        answers.append(reader.client.get(following, headers=reader.auth))
    return answers


@pytest.mark.parametrize("size", [1, 7, 20, 59, 60, 61])
def test_every_row_is_on_one_page_whatever_the_ties(reader: Caller, size: int) -> None:
    seen = [slug for page in pages(reader, f"tenants?page_size={size}") for slug in slugs(page)]
    assert len(seen) == 60
    assert set(seen) == set(Tenant.objects.values_list("slug", flat=True))
    assert seen == list(Tenant.objects.order_by("-created_at", "-id").values_list("slug", flat=True))


def test_previous_leads_back_the_same_way(reader: Caller) -> None:
    forward = [slugs(page) for page in pages(reader, "tenants?page_size=7")]
    answer = pages(reader, "tenants?page_size=7")[-1]
    back = [slugs(answer)]
    while before := answer.json()["previous"]:
        answer = reader.client.get(before, headers=reader.auth)
        back.append(slugs(answer))
    assert list(reversed(back)) == forward


def test_the_filters_stay_in_the_links(reader: Caller) -> None:
    answers = pages(reader, "tenants?page_size=3&state=failed&region=local")
    assert len(answers) > 1
    assert {one["state"] for page in answers for one in page.json()["results"]} == {"failed"}
    assert {one["region"] for page in answers for one in page.json()["results"]} == {"local"}


def test_a_page_is_at_most_two_hundred(reader: Caller) -> None:
    assert len(slugs(reader.get("tenants?page_size=100000"))) == 60
    assert len(slugs(reader.get("tenants"))) == 50
    for size in ("0", "-1", "x", "1.5", "9" * 400, ""):
        answer = reader.get(f"tenants?page_size={size}")
        assert answer.status_code in {200, 400}, size
        assert answer.status_code == 200 or answer.json()["code"] == "MALFORMED_REQUEST"


@pytest.mark.parametrize("cursor", ["x", "a1", "a0-00", "c1-" + "0" * 32, "a" + "9" * 18 + "-" + "0" * 32, "é", "%00"])
def test_a_cursor_that_was_not_given_out_is_refused(reader: Caller, cursor: str) -> None:
    answer = reader.get(f"tenants?cursor={cursor}")
    assert (answer.status_code, answer.json()["code"]) in {(400, "INVALID_CURSOR"), (400, "MALFORMED_REQUEST")}


def test_a_misspelt_filter_never_lists_the_whole_fleet(reader: Caller) -> None:
    answer = reader.get("tenants?sate=failed")
    assert (answer.status_code, answer.json()["code"]) == (400, "UNKNOWN_PARAMETER")
    assert "state" in answer.json()["metadata"]["known"]
    for path in ("tiers?x=1", "operations?tenants=1", "plans?name=x", "tenants/ten_x?page_size=1", "tiers?format=api"):
        assert reader.get(path).json()["code"] == "UNKNOWN_PARAMETER", path


@pytest.mark.parametrize(
    "query",
    [
        "state=faild",
        "tier=shelf",
        "health=fine",
        "behind=yes",
        "created_after=yesterday",
        "state=",
        "q=",
        "q=%00",
        "q=a&q=b",
    ],
)
def test_a_filter_that_makes_no_sense_is_refused(reader: Caller, query: str) -> None:
    answer = reader.get(f"tenants?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "MALFORMED_REQUEST")


def test_filters_mean_what_they_say(reader: Caller) -> None:
    everyone = set(Tenant.objects.values_list("slug", flat=True))
    failed = {f"tenant-{number:02}" for number in range(0, 60, 3)}
    assert found(reader, "state=failed") == failed
    assert found(reader, "state=active&state=failed") == everyone
    assert found(reader, "region=local&state=failed") == {slug for slug in failed if int(slug[-2:]) % 2}
    assert found(reader, "slug=tenant-03&slug=tenant-04") == {"tenant-03", "tenant-04"}
    assert found(reader, "external_ref=crm-5") == {"tenant-05"}
    assert found(reader, "plan=standard") == everyone
    assert found(reader, "plan=dedicated") == set()
    assert found(reader, "tier=schema") == {f"tenant-{number:02}" for number in (1, 3, 5, 7, 9)}
    assert len(found(reader, "cluster=local-1")) == 10
    assert found(reader, "behind=true") == {f"tenant-{number:02}" for number in range(5)}
    assert found(reader, "behind=false") == everyone - found(reader, "behind=true")
    assert found(reader, "release=2020.1.1") == found(reader, "behind=true")
    assert found(reader, "q=GLOB") == {"tenant-07"}
    assert found(reader, "q=tenant-1") == {f"tenant-{number}" for number in range(10, 20)}
    assert found(reader, "q=%25") == set()
    assert found(reader, "health=unknown") == everyone
    later = quote((NOON + timedelta(minutes=90)).isoformat())
    assert found(reader, f"created_after={later}") == {f"tenant-{number:02}" for number in range(2, 60, 3)}


def test_a_list_costs_as_many_queries_for_fifty_as_for_one(reader: Caller) -> None:
    counts = []
    for size in (1, 50):
        reader.get("tiers")  # writes the last use of the key
        with CaptureQueriesContext(connection) as asked:
            reader.get(f"tenants?page_size={size}")
        counts.append(len(asked))
    assert counts[0] == counts[1], counts


def test_the_catalogue_is_listed_and_read_by_name(reader: Caller) -> None:
    assert {plan["name"] for plan in reader.get("plans").json()["results"]} == {"pool", "standard", "dedicated"}
    assert reader.get("plans/standard").json()["tier"] == "schema"
    assert reader.get("plans/golden").json()["code"] == "NOT_FOUND"
    assert reader.get("plans/%00").json()["code"] == "NOT_FOUND"
    assert [tier["name"] for tier in reader.get("tiers").json()["results"]] == ["pool", "schema", "database"]
    cluster = reader.get("clusters/local-1").json()
    assert (cluster["tenants"], cluster["state"]) == (10, "open")
    assert "url" not in str(cluster)
    release = reader.get("releases").json()["results"][0]
    assert reader.get(f"releases/{release['id']}").json() == release
    assert reader.get(f"releases/rel_{uuid4().hex}").status_code == 404
    assert "script" not in release
