"""The example application as a visitor meets it, served by a process with an application's rights only."""

import re
from dataclasses import replace
from urllib.request import urlopen

import pytest
from django.db.models import F

from controlplane.stack.embedded import Stack
from tenants.models import Domain, Tenant
from tenants.placement import pool_bucket, pool_role
from tenants.states import TenantState, Tier
from tests.fleet import accepted, driven, onboarded
from tests.live import Live, Visitor, application
from tests.pair import Pair

pytestmark = pytest.mark.long


def visitor(live: Live, slug: str) -> Visitor:
    return Visitor(live, f"{slug}.localhost:{live.application}")


@pytest.fixture
def acme(pair: Pair, live: Live) -> Visitor:
    return visitor(live, "acme")


@pytest.fixture
def globex(pair: Pair, live: Live) -> Visitor:
    return visitor(live, "globex")


def project(of: Visitor, name: str) -> str:
    """The address of a new project's page."""
    page = of.post("/", {"name": name, "description": f"About {name}", "tags": ["1"]})
    assert page.status == 302, page.text
    return page.headers["Location"]


def test_each_tenant_sees_its_own_projects_and_not_the_others(acme: Visitor, globex: Visitor) -> None:
    ours = project(acme, "Rocket")
    project(globex, "Bakery")
    assert "Rocket" in acme.get().text
    assert "Bakery" not in acme.get().text
    assert "Rocket" not in globex.get().text
    assert "Rocket" in acme.get(ours).text


def test_the_newest_project_comes_first_and_long_lists_have_pages(acme: Visitor) -> None:
    for number in range(26):
        project(acme, f"Project {number}")
    first, second = acme.get().text, acme.get("/?page=2").text
    assert first.index("Project 25") < first.index("Project 2<")
    assert "Page 1 of 2" in first
    assert "Project 0<" in second


def test_another_tenants_page_is_not_there(acme: Visitor, globex: Visitor) -> None:
    theirs = max((project(globex, f"Bakery {number}") for number in range(3)), key=lambda path: int(path.split("/")[2]))
    page = acme.get(theirs)
    assert (page.status, "Not here" in page.text, "Bakery" in page.text) == (404, True, False)


def test_the_page_says_from_where_it_is_served(pair: Pair, acme: Visitor, globex: Visitor) -> None:
    for context, seen in ((pair.acme, acme), (pair.globex, globex)):
        text = seen.get().text
        for fact in (context.database, context.schema, context.key, f"t-{context.tenant_id.hex}", context.tier.label):
            assert fact in text


def test_a_file_goes_to_the_tenants_bucket_and_comes_back_by_a_link(acme: Visitor, globex: Visitor, pair: Pair) -> None:
    at = project(acme, "Rocket")
    assert acme.upload(f"{at}documents/", "plan ä.txt", b"to the moon", at=at).status == 302
    document = re.search(r'href="(/documents/\d+/)"><bdi>plan ä\.txt</bdi>', acme.get(at).text)
    assert document
    link = acme.get(document[1]).headers["Location"]
    assert f"/t-{pair.acme.tenant_id.hex}/documents/" in link
    assert globex.get(document[1]).status == 404


@pytest.fixture
def pooled(changing_pair: Pair, live: Live) -> dict[str, Visitor]:
    """Two tenants of one pool."""
    for slug in ("initech", "umbrella"):
        onboarded(slug, Tier.POOL)
    return {slug: visitor(live, slug) for slug in ("initech", "umbrella")}


def test_tenants_of_a_pool_share_tables_and_see_their_own(pooled: dict[str, Visitor]) -> None:
    initech, umbrella = pooled.values()
    ours = project(initech, "Printer")
    theirs = project(umbrella, "Rain")
    for seen, own, other in ((initech, "Printer", "Rain"), (umbrella, "Rain", "Printer")):
        assert (own in seen.get().text, other in seen.get().text) == (True, False)
    assert (initech.get(ours).status, initech.get(theirs).status) == (200, 404)
    assert initech.post("/", {"name": "Rain"}).status == 302  # a name is taken in one tenant alone


def test_the_page_of_a_pools_tenant_says_schema_role_and_prefix(pooled: dict[str, Visitor]) -> None:
    for slug, seen in pooled.items():
        context = Tenant.objects.get(slug=slug).context()
        assert context.pool_id is not None
        text = seen.get().text
        facts = ("pool_1", pool_role(context.pool_id), pool_bucket(context.pool_id), f"{context.key}/")
        assert [fact for fact in facts if f"<code>{fact}</code>" not in text] == []


def test_a_file_of_a_pools_tenant_lies_below_its_prefix(pooled: dict[str, Visitor]) -> None:
    initech, umbrella = pooled.values()
    at = project(initech, "Printer")
    assert initech.upload(f"{at}documents/", "manual.txt", b"PC load letter", at=at).status == 302
    document = re.search(r'href="(/documents/\d+/)"', initech.get(at).text)
    assert document
    link = initech.get(document[1]).headers["Location"]
    context = Tenant.objects.get(slug="initech").context()
    assert context.pool_id is not None
    assert f"/{pool_bucket(context.pool_id)}/{context.key}/documents/" in link
    with urlopen(link, timeout=5) as answer:  # noqa: S310  the scheme is the stack's own
        assert answer.read() == b"PC load letter"
    assert umbrella.get(document[1]).status == 404


def test_a_form_that_is_refused_comes_back_with_the_reason(acme: Visitor) -> None:
    project(acme, "Rocket")
    page = acme.post("/", {"name": "Rocket"})
    assert (page.status, "There is a project of this name." in page.text) == (422, True)
    assert acme.post("/", {"name": ""}).status == 422


def test_a_project_is_edited_and_people_join_once(acme: Visitor) -> None:
    at = project(acme, "Rocket")
    assert acme.post(f"{at}edit/", {"name": "Moon rocket", "tags": ["2", "3"]}, at=at).status == 302
    for address in ("ada@example.com", "ADA@example.com"):
        assert acme.post(f"{at}members/", {"name": "Ada", "email": address}, at=at).status == 302
    text = acme.get(at).text
    assert ("Moon rocket" in text, text.count("ada@example.com"), text.count("ADA@example.com")) == (True, 1, 0)
    assert acme.post(f"{at}members/", {"name": "Ada", "email": "nobody"}, at=at).status == 422
    assert acme.upload(f"{at}documents/", "empty.txt", b"", at=at).status == 422


def test_names_are_text_and_never_markup(acme: Visitor) -> None:
    at = project(acme, "<script>alert(1)</script>")
    assert "<script>alert" not in acme.get(at).text + acme.get().text


def test_a_form_from_elsewhere_is_refused(acme: Visitor) -> None:
    assert acme._ask("POST", "/", b"name=forged", {"Content-Type": "application/x-www-form-urlencoded"}).status == 403


@pytest.mark.parametrize(
    "host",
    [
        "nobody.localhost",
        "acme.localhost.evil.example",
        "www.acme.localhost",
        "acme",
        "10.0.0.1",
        "[::2]",
        "*.localhost",
    ],
)
def test_an_unknown_host_is_not_found(pair: Pair, live: Live, host: str) -> None:
    page = Visitor(live, host).get()
    assert (page.status, "Nobody lives here" in page.text) == (404, True)


@pytest.mark.parametrize(
    "host", ["ac me.localhost", "acme.localhost:port", "acm\xe9.localhost", "acme_localhost", "a@b"]
)
def test_a_host_that_is_no_host_is_refused(pair: Pair, live: Live, host: str) -> None:
    assert Visitor(live, host).get().status in {400, 404}


@pytest.mark.parametrize("host", ["ACME.localhost", "acme.localhost.", "Acme.LocalHost.:80", "acme.localhost:8001"])
def test_a_host_is_the_same_in_capitals_with_a_port_and_with_a_trailing_dot(pair: Pair, live: Live, host: str) -> None:
    page = Visitor(live, host).get()
    assert (page.status, pair.acme.key in page.text) == (200, True)


def test_nothing_else_in_a_request_chooses_the_tenant(pair: Pair, live: Live, acme: Visitor) -> None:
    headers = {"X-Forwarded-Host": "globex.localhost", "Forwarded": "host=globex.localhost", "X-Tenant": "globex"}
    page = acme._ask("GET", "/?tenant=globex", b"", headers)
    assert (pair.acme.key in page.text, pair.globex.key in page.text) == (True, False), live.last_words()


@pytest.mark.parametrize("host", ["localhost:8001", "127.0.0.1", "[::1]"])
def test_the_bare_host_says_how_to_reach_a_tenant(pair: Pair, live: Live, host: str) -> None:
    page = Visitor(live, host).get()
    assert page.status == 200
    assert live.url("acme") in page.text
    assert live.url("globex") in page.text
    assert Visitor(live, host).get("/projects/1/").status == 404


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (TenantState.PROVISIONING, (503, "is being prepared", "2")),
        (TenantState.FAILED, (503, "could not be prepared", "30")),
        (TenantState.SUSPENDED, (403, "is suspended", None)),
    ],
)
def test_a_tenant_that_is_not_active_gets_a_fitting_page(
    changing_pair: Pair, live: Live, state: TenantState, expected: tuple[int, str, str | None]
) -> None:
    status, says, again = expected
    acme, globex = visitor(live, "acme"), visitor(live, "globex")
    Tenant.objects.filter(slug="acme").update(state=state, version=F("version") + 1)
    page = acme.get()
    assert (page.status, says in page.text, page.headers["Retry-After"]) == (status, True, again)
    assert ('http-equiv="refresh"' in page.text) is (again is not None)
    assert "no-store" in page.headers["Cache-Control"]
    assert globex.get().status == 200


def test_a_page_is_private_and_differs_by_cookie(acme: Visitor) -> None:
    page = acme.get()
    assert page.headers["Cache-Control"] == "private"
    assert {"Cookie", "Authorization"} <= {word.strip() for word in page.headers["Vary"].split(",")}


def test_a_new_tenants_address_waits_until_it_is_ready(changing_pair: Pair, live: Live) -> None:
    initech = visitor(live, "initech")
    assert initech.get().status == 404
    run = accepted("initech", Tier.SCHEMA)
    waiting = initech.get()
    assert (waiting.status, "is being prepared" in waiting.text) == (503, True)
    assert "Service Unavailable" not in live.last_words()  # nothing is wrong: no line that wakes somebody up
    driven(run)
    assert initech.get().status == 200


def test_a_failed_tenant_has_lost_its_domain_and_is_still_told_apart(changing_pair: Pair, live: Live) -> None:
    accepted("initech", Tier.SCHEMA)
    Tenant.objects.filter(slug="initech").update(state=TenantState.FAILED)
    page = visitor(live, "initech").get()
    assert (page.status, "could not be prepared" in page.text) == (503, True)


def test_an_active_tenant_without_the_domain_is_not_served_there(changing_pair: Pair, live: Live) -> None:
    Domain.objects.filter(domain="acme.localhost").delete()
    assert visitor(live, "acme").get().status == 404


@pytest.mark.parametrize("trouble", ["control plane away", "key refused"])
def test_without_credentials_the_page_asks_for_patience(pair: Pair, live: Live, stack: Stack, trouble: str) -> None:
    api = f"http://127.0.0.1:{1 if trouble == 'control plane away' else live.web}"
    with application(stack, "tnr_refused", api=api) as port:
        page = Visitor(replace(live, application=port), "acme.localhost").get()
    assert (page.status, "Not available right now" in page.text, page.headers["Retry-After"]) == (503, True, "5")
    words = live.last_words()
    assert "tnr_refused" not in page.text + words
    assert ("gave no usable answer" in words) or ("(401)" in words)
