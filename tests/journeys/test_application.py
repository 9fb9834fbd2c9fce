"""Two tenants in a real browser: what a newcomer watches after the first `curl`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.live import Live
from tests.pair import Pair

CHROMIUM = "/usr/bin/chromium"
pytestmark = [pytest.mark.long, pytest.mark.journey]


@pytest.fixture
def browser(pair: Pair, live: Live) -> Iterator[Browser]:
    """Ends before `pair` does: while Playwright's loop runs in this thread, Django refuses to talk to a database."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def visitor(browser: Browser) -> Iterator[BrowserContext]:
    """One person at one browser, who opens both tenants. Anything the pages complain about is a failure."""
    context = browser.new_context()
    complaints: list[str] = []
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    context.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    yield context
    context.close()
    assert not complaints


def add_project(page: Page, name: str) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("idea").check()
    page.get_by_role("button", name="Add project").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(name)


def test_a_newcomer_sees_two_tenants_that_do_not_see_each_other(
    pair: Pair, live: Live, visitor: BrowserContext, tmp_path: Path
) -> None:
    acme, globex = visitor.new_page(), visitor.new_page()
    acme.goto(live.url("acme"))
    globex.goto(live.url("globex"))
    add_project(acme, "Rocket")
    add_project(globex, "Bakery")

    note = tmp_path / "plan.txt"
    note.write_text("to the moon")
    acme.get_by_label("File").set_input_files(note)
    acme.get_by_role("button", name="Upload").click()
    with acme.expect_download() as download:
        acme.get_by_role("link", name="plan.txt").click()
    assert download.value.path().read_text() == "to the moon"

    for page, ours, theirs, context in (
        (acme, "Rocket", "Bakery", pair.acme),
        (globex, "Bakery", "Rocket", pair.globex),
    ):
        page.goto(live.url(context.slug))
        expect(page.get_by_role("link", name=ours)).to_be_visible()
        expect(page.get_by_text(theirs)).to_have_count(0)
        expect(page.get_by_text(context.key).first).to_be_visible()


def test_each_tenant_has_a_colour_of_its_own_for_good(pair: Pair, live: Live, visitor: BrowserContext) -> None:
    page = visitor.new_page()
    for context in (pair.acme, pair.globex):
        page.goto(live.url(context.slug))
        hue = page.evaluate("getComputedStyle(document.body).getPropertyValue('--hue')")
        assert float(hue) == context.tenant_id.int % 360
        assert page.evaluate("getComputedStyle(document.querySelector('.mark')).backgroundColor").startswith("oklch")


def test_no_page_is_wider_than_a_phone(live: Live, visitor: BrowserContext) -> None:
    page = visitor.new_page()
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto(live.url("acme"))
    add_project(page, "A name without a place to break " + "x" * 150)
    for address in (page.url, live.url("acme"), f"http://localhost:{live.application}/"):
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_usable_by_everybody(live: Live, browser: Browser, scheme: Literal["light", "dark"]) -> None:
    """axe-core's rules, WCAG 2.2 A and AA, contrast among them."""
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    page.goto(live.url("acme"))
    add_project(page, "Rocket")
    found = []
    for address in (page.url, live.url("acme"), live.url("nobody"), f"http://localhost:{live.application}/"):
        page.goto(address)
        found += [(address, problem["id"]) for problem in Axe().run(page).response["violations"]]
    assert found == []
    context.close()
