"""The admin in a real browser: what refreshes itself, what the keyboard reaches, what a failing network looks like."""

import re

import pytest
from playwright.sync_api import Page, expect

from provisioning import lifecycle
from provisioning.models import Run, RunState
from tenants.models import Pool, Tenant
from tests import standing, standing_rollouts
from tests.fleet import BILLING, accepted, driven
from tests.journeys.browsing import Desk
from tests.provisioning.rollout.building import RowsOnly, replaying
from tests.provisioning.rollout.building import driven as driven_rollout

pytestmark = [pytest.mark.long, pytest.mark.journey]


def operation(run: Run) -> str:
    return f"/admin/provisioning/run/{run.pk}/"


def tab_to(page: Page, selector: str) -> None:
    """Press Tab until the thing has the focus; a person gives up after 80."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement?.matches(selector)", selector):
            return
    raise AssertionError(f"The keyboard does not reach {selector} on {page.url}.")


def test_an_onboarding_is_watched_to_its_end_in_two_tabs(desk: Desk) -> None:
    run = accepted("acme")
    tabs = [desk.sit(), desk.sit("viewer")]
    for tab in tabs:
        tab.goto(operation(run))
        expect(tab.locator("#live .tn-badge").first).to_contain_text("queued")
    driven(run)
    for tab in tabs:
        expect(tab.locator("#live")).to_have_attribute("data-state", "succeeded", timeout=20_000)
        expect(tab.locator("#live")).not_to_have_attribute("hx-get", re.compile("."))
        expect(tab.locator("#next")).to_have_text("Go to acme")
        expect(tab.locator(".tn-log")).to_contain_text("Ended")
        expect(tab.locator("[id^=verb-]")).to_have_count(0)
        expect(tab.locator("#tn-pause")).to_have_count(0)
        expect(tab.locator("#tn-said")).to_contain_text("succeeded")


def test_a_parked_operation_is_found_and_undone_by_keyboard_alone(desk: Desk) -> None:
    run = standing.parked(accepted("acme"), "reserve placement")
    page = desk.sit()
    page.goto("/admin/")
    page.keyboard.press("t")
    page.keyboard.type("acm")
    expect(page.locator("#search-results a")).to_contain_text("acme")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("acme")
    tab_to(page, "#current")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("onboard acme")
    tab_to(page, "#verb-undo")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Undo onboard acme")
    expect(page.get_by_role("heading", level=1)).to_have_text("Undo onboard acme")
    tab_to(page, "[name=reason]")
    page.keyboard.type("It was asked for twice.")
    if page.locator("[name=typed]").count():
        tab_to(page, "[name=typed]")
        page.keyboard.type("acme")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent.trim()") == "Cancel"  # the way out comes first
    tab_to(page, "#confirm-button")
    page.keyboard.press("Enter")
    expect(page.locator("#live")).to_have_attribute("data-state", re.compile("running|undoing"))
    driven(run)
    expect(page.locator("#live")).to_have_attribute("data-state", "failed", timeout=20_000)
    expect(page.locator("#tn-alarm")).to_contain_text("failed")
    assert Tenant.objects.get(slug="acme").state == "failed"


def test_the_skip_link_leads_to_the_content(desk: Desk) -> None:
    page = desk.sit()
    page.goto("/admin/tenants/tenant/")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main-content"


def test_a_double_click_starts_one_operation(desk: Desk) -> None:
    page = desk.sit()
    page.goto("/admin/tenants/tenant/onboard/")
    page.get_by_label("Slug").fill("acme")
    page.get_by_label("Name").fill("Acme GmbH")
    page.get_by_role("button", name="Show the plan").click()
    page.get_by_role("button", name="Onboard acme").dblclick()
    expect(page.get_by_role("heading", level=1)).to_have_text("onboard acme")
    assert (Tenant.objects.count(), Run.objects.count()) == (1, 1)


def test_the_focus_and_open_details_survive_a_refresh(desk: Desk) -> None:
    run = standing.held(accepted("acme"))
    page = desk.sit()
    page.goto(operation(run))
    page.locator("#verb-pause").focus()
    page.locator("#input summary").click()
    page.locator("#verb-pause").focus()
    run.steps.filter(name=run.step).update(note="312 of 500 objects")
    expect(page.locator("#live")).to_contain_text("312 of 500 objects", timeout=20_000)
    assert page.evaluate("document.activeElement.id") == "verb-pause"
    assert page.locator("#input").get_attribute("open") is not None


def test_updates_can_be_paused(desk: Desk) -> None:
    run = standing.held(accepted("acme"))
    page = desk.sit()
    page.clock.install()
    page.goto(operation(run))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/live/" in request.url else None)
    page.locator("#tn-pause").click()
    expect(page.locator("#tn-pause")).to_have_attribute("aria-pressed", "true")
    page.clock.run_for(20_000)
    assert asked == []
    page.locator("#tn-pause").click()
    page.clock.run_for(5_000)
    assert asked != []


def test_a_server_that_does_not_answer_is_said_aloud_and_found_again(desk: Desk) -> None:
    run = standing.held(accepted("acme"))
    page = desk.sit()
    page.clock.install()
    page.goto(operation(run))
    page.route("**/live/**", lambda route: route.abort())
    bar = page.locator("#tn-away")
    for _ in range(20):
        page.clock.run_for(3_000)
        if bar.is_visible():
            break
    expect(bar).to_contain_text("Not up to date since")
    page.unroute("**/live/**")
    for _ in range(40):
        page.clock.run_for(5_000)
        if not bar.is_visible():
            break
    expect(bar).to_be_hidden()


def test_whose_session_ended_is_led_to_the_login(desk: Desk) -> None:
    run = standing.held(accepted("acme"))
    page = desk.sit()
    page.goto(operation(run))
    page.context.clear_cookies()
    page.wait_for_url("**/admin/login/?next=**", timeout=20_000)
    expect(page.locator("#live")).to_have_count(0)
    page.get_by_label("Username").fill("ops")
    page.get_by_label("Password").fill("a long enough password")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("onboard acme")


def test_everything_works_without_javascript(desk: Desk) -> None:
    run = standing.parked(accepted("acme"))
    page = desk.sit(javascript=False)
    page.goto(operation(run))
    expect(page.get_by_text("needs a person").first).to_be_visible()
    page.get_by_role("link", name="Retry").click()
    page.get_by_label("Reason").fill("The store is back.")
    page.get_by_role("button", name="Retry onboard acme").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("onboard acme")
    run.refresh_from_db()
    assert run.state == RunState.RUNNING


def test_a_rollout_is_watched_from_its_approval_to_its_end(desk: Desk) -> None:
    release = standing_rollouts.release()
    standing_rollouts.tenants(6)
    Pool.objects.update(ready_at=None)
    draft = lifecycle.propose_rollout(release=release, terms=lifecycle.RolloutTerms(), actor=BILLING, key="k")
    page = desk.sit()
    page.goto(f"/admin/provisioning/rollout/{draft.pk}/")
    expect(page.locator("#live")).to_have_attribute("data-state", "draft")
    tab_to(page, "#verb-approve")
    page.keyboard.press("Enter")
    expect(page.get_by_text(draft.plan_digest).first).to_be_visible()
    page.get_by_role("button", name="Approve").click()
    expect(page.locator("#live")).to_have_attribute("data-state", "running")
    expect(page.locator(".tn-squares a")).to_have_count(6)
    with replaying(RowsOnly()):
        driven_rollout(draft)
    expect(page.locator("#live")).to_have_attribute("data-state", "succeeded", timeout=20_000)
    expect(page.locator("#live")).not_to_have_attribute("hx-get", re.compile("."))
    expect(page.locator(".tn-squares a.tn-good")).to_have_count(6)
    expect(page.get_by_text("6 of 6 targets")).to_be_visible()
    expect(page.locator("[id^=verb-]")).to_have_count(0)
    expect(page.locator("#tn-said")).to_contain_text("succeeded")


def test_what_happens_elsewhere_reaches_the_tenants_page(desk: Desk) -> None:
    run = standing.held(accepted("acme"))
    page = desk.sit()
    page.goto(f"/admin/tenants/tenant/{run.tenant_id}/")
    expect(page.locator("#current")).to_contain_text("create role")
    lifecycle.pause(run, actor=BILLING)
    expect(page.locator("#live")).to_have_attribute("data-state", re.compile("provisioning"))
    standing.parked(run)
    expect(page.locator("#live")).to_contain_text("it needs a person", timeout=20_000)
