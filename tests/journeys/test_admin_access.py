"""Every screen of the admin, in light and dark, full and empty, before axe-core: no violation at all, of any kind.

Unfold's own frame had some; templates/unfold/ replaces those parts, so there is no list of exceptions.
"""

from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from controlplane.keys import make_key
from provisioning.models import Release
from tenants.models import Cluster, Tenant
from tests import standing, standing_erasures, standing_rollouts
from tests.drawing import half_of
from tests.fleet import BILLING
from tests.journeys.browsing import Desk

pytestmark = [pytest.mark.long, pytest.mark.journey]

LISTS = (
    "/admin/tenants/tenant/",
    "/admin/provisioning/run/",
    "/admin/provisioning/rollout/",
    "/admin/provisioning/adopteddrift/",
    "/admin/provisioning/erasurerequest/",
    "/admin/tenants/cluster/",
    "/admin/tenants/plan/",
    "/admin/provisioning/release/",
    "/admin/controlplane/apikey/",
    "/admin/tenants/auditentry/",
)
FORMS = (
    "/admin/tenants/tenant/onboard/",
    "/admin/provisioning/rollout/propose/",
    "/admin/provisioning/erasurerequest/request/",
    "/admin/provisioning/erasurerequest/import/",
    "/admin/tenants/cluster/register/",
    "/admin/controlplane/apikey/make/",
    "/admin/password_change/",
)
NEWCO = "/admin/tenants/tenant/onboard/plan/?slug=newco&name=New&plan=standard&region=local"


def rollout_screens() -> list[str]:
    """The addresses of rollouts with something on every part of their page, and of what one does with them."""
    release = standing_rollouts.release()
    draft = standing_rollouts.rollout(release, "draft")
    standing_rollouts.rehearsal(draft, run=standing_rollouts.a_run())
    running = standing_rollouts.rollout(release, "running", {0: 1, 1: 40}, wave=1)
    standing_rollouts.targets(running, ["succeeded"], wave=0)
    odd = [{"state": "failed", "error": standing_rollouts.DRIFTED}, standing_rollouts.blocked(running.run_id)]
    late = {"state": "waiting", "late": True}
    standing_rollouts.targets(running, ["succeeded", "running", "failed", "skipped", *odd, late, *["waiting"] * 33])
    stopped = standing_rollouts.rollout(
        release, "paused", pause_reason="error_budget", pause_detail="4 targets failed; the budget is 3."
    )
    standing_rollouts.targets(stopped, ["failed", "waiting"], prefix="s")
    rollout, target = "/admin/provisioning/rollout/", "/admin/provisioning/rollouttarget/"
    failed = stopped.targets.get(state="failed")
    pages = [f"{rollout}{each.pk}/" for each in (draft, running, stopped)]
    verbs = [f"{rollout}{draft.pk}/{verb}/" for verb in ("approve", "rehearse")]
    return [*pages, rollout, *verbs, f"{target}?rollout={running.pk}", f"{target}{failed.pk}/"]


def erasure_screens() -> list[str]:
    """A request in each state that looks different, and the pages on which two people act on it."""
    tenants = standing_rollouts.tenants(9, prefix="e")
    requests = standing_erasures.every(tenants, standing_erasures.person("ops"))
    page = "/admin/provisioning/erasurerequest/"
    pages = [f"{page}{each.pk}/" for each in requests]
    verbs = [(2, "propose"), (2, "hold_records"), (4, "approve"), (4, "extend"), (5, "cancel")]
    tenant = f"/admin/tenants/tenant/{tenants[0].pk}/"
    return [*pages, page, "/admin/", tenant, *(f"{pages[number]}{verb}/" for number, verb in verbs)]


def screens(fleet: standing.Fleet) -> Iterator[str]:
    """The address of every screen, with each state of an operation and of a tenant."""
    yield from ("/admin/", "/admin/help/", *LISTS, *FORMS, NEWCO, NEWCO.replace("newco", "Bad+slug!"))
    for run in fleet.runs().values():
        yield f"/admin/provisioning/run/{run.pk}/"
    for verb in ("retry", "undo", "force_complete", "pause"):
        yield f"/admin/provisioning/run/{fleet.parked.pk}/{verb}/"
    for tenant in Tenant.objects.filter(slug__in=["acme", "failed-one", "parked-one"]):
        yield f"/admin/tenants/tenant/{tenant.pk}/"
    yield from (f"/admin/provisioning/adopteddrift/{fleet.active.pk}/{verb}" for verb in ("", "adopt/", "repair/"))
    yield f"/admin/tenants/cluster/{Cluster.objects.get().pk}/"
    yield f"/admin/provisioning/release/{Release.objects.get(current=True).pk}/"


EVERYTHING: dict[str, object] = {"resultTypes": ["violations"]}
COLOURS: dict[str, object] = {**EVERYTHING, "runOnly": ["color-contrast"]}  # what another theme can change


def violations(page: Page, address: str, rules: dict[str, object] = EVERYTHING) -> list[str]:
    page.goto(address)
    page.wait_for_function("document.documentElement.getAttribute('x-cloak') === null")
    found = Axe().run(page, options=rules).response["violations"]
    return [f"{address}: {each['id']}, {each['impact']}: {each['nodes'][0]['html'][:160]}" for each in found]


def too_wide(page: Page) -> list[str]:
    """The page that is open, on a phone."""
    usual = page.viewport_size
    page.set_viewport_size({"width": 400, "height": 800})
    width = page.evaluate("document.documentElement.scrollWidth")
    assert usual is not None
    page.set_viewport_size(usual)
    return [f"{page.url}: {width} pixels wide"] if width > 400 else []


def test_no_screen_keeps_anybody_out_or_is_wider_than_a_phone(desk: Desk, look: standing.Fleet) -> None:
    page = desk.sit()
    assert [line for address in half_of(screens(look)) for line in (*violations(page, address), *too_wide(page))] == []


def test_every_kind_of_screen_can_be_read_in_the_dark(desk: Desk, look: standing.Fleet) -> None:
    """Each component once; the pairs of colours themselves are tested as numbers."""
    page = desk.sit(theme="dark")
    waiting, parked, failed = (f"/admin/provisioning/run/{run.pk}/" for run in (look.waiting, look.parked, look.failed))
    tenant = f"/admin/tenants/tenant/{look.active.pk}/"
    for address in (
        "/admin/",
        "/admin/help/",
        *LISTS[:2],
        *FORMS[:1],
        waiting,
        parked,
        f"{parked}undo/",
        failed,
        tenant,
    ):
        assert violations(page, address, COLOURS) == []


def test_no_screen_of_a_rollout_keeps_anybody_out_in_the_dark_or_on_a_phone(desk: Desk) -> None:
    addresses, light, dark = rollout_screens(), desk.sit(), desk.sit(theme="dark")
    assert [line for address in half_of(addresses) for line in (*violations(light, address), *too_wide(light))] == []
    assert [line for address in addresses[:3] for line in violations(dark, address, COLOURS)] == []


def test_no_screen_of_an_erasure_keeps_anybody_out_in_the_dark_or_on_a_phone(desk: Desk) -> None:
    addresses, light, dark = erasure_screens(), desk.sit(), desk.sit(theme="dark")
    assert [line for address in half_of(addresses) for line in (*violations(light, address), *too_wide(light))] == []
    blocked, erasing, settling = addresses[1], addresses[6], addresses[7]
    assert [line for each in (blocked, erasing, settling) for line in violations(dark, each, COLOURS)] == []


def test_the_watch_would_have_seen_something(desk: Desk, look: standing.Fleet) -> None:
    page = desk.sit()
    page.goto("/admin/")
    page.add_style_tag(content=".tn-faint { color: #cccccc !important; }")
    found = Axe().run(page, options=COLOURS).response["violations"]
    assert [each["id"] for each in found] == ["color-contrast"]


def test_no_empty_screen_keeps_anybody_out(desk: Desk) -> None:
    page = desk.sit()
    key = make_key(principal="billing", name="sign-up", scopes=["tenants:read"], actor=BILLING).key
    for address in ("/admin/", *LISTS, "/admin/tenants/tenant/?q=nothing", f"/admin/controlplane/apikey/{key.pk}/"):
        assert violations(page, address) == []
    assert violations(desk.sit(""), "/admin/login/") == []


def test_motion_stops_for_those_who_ask(desk: Desk, look: standing.Fleet) -> None:
    page = desk.sit()
    page.emulate_media(reduced_motion="reduce")
    page.goto(f"/admin/provisioning/run/{look.running.pk}/")
    assert page.evaluate("getComputedStyle(document.querySelector('.tn-fill')).transitionDuration") == "0s"
