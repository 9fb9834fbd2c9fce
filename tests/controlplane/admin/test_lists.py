"""Lists: a frozen number of queries, URLs that hold the whole question, and kinds of nothing that are never mixed."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from controlplane.keys import make_key
from provisioning.models import Release, Run
from tenants.models import Cluster, Plan, Pool, Tenant
from tests import standing, standing_erasures, standing_rollouts
from tests.fleet import BILLING, accepted

pytestmark = pytest.mark.long

TENANTS, OPERATIONS = "/admin/tenants/tenant/", "/admin/provisioning/run/"
QUERIES = {
    TENANTS: 5,
    OPERATIONS: 5,
    "/admin/provisioning/rollout/": 4,
    "/admin/provisioning/rollouttarget/": 4,
    "/admin/provisioning/erasurerequest/": 5,
    "/admin/tenants/cluster/": 5,
    "/admin/tenants/pool/": 5,
    "/admin/tenants/plan/": 4,
    "/admin/provisioning/release/": 4,
    "/admin/controlplane/apikey/": 4,
    "/admin/tenants/auditentry/": 4,
}
"""The session, its user, the rows, whether a worker is alive; and one more for a filter whose choices are rows."""


def text(client: Client, url: str) -> str:
    page = client.get(url)
    assert page.status_code == 200, url
    return page.content.decode()


def more_of_everything(number: int) -> None:
    release = standing_rollouts.release()
    standing_rollouts.targets(standing_rollouts.rollout(release, "running"), ["failed", "waiting"] * number)
    standing.tenants(number, like=Tenant.objects.get(slug="acme"))
    for n in range(number):
        Cluster.objects.create(name=f"c-{n}", region="far", capacity=9, sealed_url=b"", public_host="127.0.0.1")
        Plan.objects.create(name=f"plan-{n}", tier="schema")
        Pool.objects.create(cluster=Cluster.objects.get(name="local-1"), schema=f"pool_{n + 2}", sealed_password=b"")
        Release.objects.create(name=f"release-{n}", state=Release.State.FAILED, placeholder="x")
        make_key(principal="billing", name=f"key-{n}", scopes=["tenants:read"], actor=BILLING)
        standing_rollouts.rollout(release, "draft")
    for tenant in Tenant.objects.filter(slug__startswith="copy-"):
        standing_erasures.asked(tenant)


@pytest.mark.parametrize("rows", [5, 50])
def test_a_list_costs_the_same_number_of_queries(ops: Client, fleet_of_states: standing.Fleet, rows: int) -> None:
    more_of_everything(rows)
    asked = {}
    for url in QUERIES:
        with CaptureQueriesContext(connection) as queries:
            text(ops, url)
        asked[url] = len(queries)
    assert asked == QUERIES


def test_a_tenant_is_found_by_slug_prefix_id_and_external_reference(ops: Client) -> None:
    acme, globex = accepted("acme").tenant, accepted("globex").tenant
    assert acme is not None
    assert globex is not None
    Tenant.objects.filter(pk=acme.pk).update(external_ref="crm-4711")
    for term in ("acm", acme.public_id, str(acme.pk), "crm-4711"):
        page = text(ops, f"{TENANTS}?q={term}")
        assert ">acme<" in page, term
        assert ">globex<" not in page, term


def test_an_operation_is_found_by_its_id_and_its_tenant(ops: Client) -> None:
    run, other = accepted("acme"), accepted("globex")
    for term in (run.public_id, "acme"):
        page = text(ops, f"{OPERATIONS}?q={term}")
        assert str(run.pk) in page
        assert str(other.pk) not in page


@pytest.mark.parametrize(
    ("query", "slugs"),
    [
        ("state__exact=failed", {"failed-one"}),
        ("health=attention", {"failed-one", "parked-one"}),
        ("tier=database", set()),
        ("cluster=local-1&state__exact=active", {"acme"}),
        ("cluster=elsewhere", set()),
        ("plan=dedicated", set()),
        ("release=2020.01.1", set()),
        ("plan=standard&release=&state__exact=failed", {"failed-one"}),
        ("tier=none", {"failed-one"}),
    ],
)
def test_tenants_are_filtered_by_url(ops: Client, look: standing.Fleet, query: str, slugs: set[str]) -> None:
    page = text(ops, f"{TENANTS}?{query}")
    assert {slug for slug in Tenant.objects.values_list("slug", flat=True) if f"<bdi>{slug}</bdi>" in page} == slugs


@pytest.mark.parametrize(
    ("query", "states"),
    [
        ("show=parked", {"parked"}),
        ("show=ended", {"failed", "succeeded"}),
        ("show=open", {"queued", "running", "waiting", "paused", "parked"}),
        ("state__exact=paused", {"paused"}),
    ],
)
def test_operations_are_filtered_by_url(ops: Client, look: standing.Fleet, query: str, states: set[str]) -> None:
    page = text(ops, f"{OPERATIONS}?{query}")
    assert {name for name, run in look.runs().items() if str(run.pk) in page} == states


def test_none_yet_and_none_match_are_told_apart(ops: Client) -> None:
    assert "No tenants yet" in text(ops, TENANTS)
    accepted("acme")
    page = text(ops, f"{TENANTS}?q=nothing-like-it")
    assert "No tenants match" in page
    assert "nothing-like-it" in page
    assert "Clear search and filters" in page


def test_a_tenant_named_like_markup_is_only_text(ops: Client) -> None:
    run = accepted("acme")
    name = "<script>alert(1)</script> \u202egnihton"
    Tenant.objects.filter(slug="acme").update(name=name)
    Run.objects.filter(pk=run.pk).update(reason=name)
    pages = (TENANTS, OPERATIONS, f"{TENANTS}{run.tenant_id}/", f"{OPERATIONS}{run.pk}/", "/admin/")
    for url in (*pages, f"/admin/search/?s={name}&extended=1"):
        assert "<script>alert(1)" not in text(ops, url), url


def test_sorting_says_its_direction(ops: Client) -> None:
    accepted("acme")
    assert 'aria-sort="ascending"' in text(ops, TENANTS)
