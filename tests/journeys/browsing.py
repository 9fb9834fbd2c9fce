"""A person at the admin with a real browser: chromium in front of the control plane's own process."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urljoin

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from controlplane.stack.embedded import Stack
from controlplane.stack.ports import HOST, free_ports
from tests import databases
from tests.live import control_plane
from tests.staff import signed_in

CHROMIUM = "/usr/bin/chromium"


@dataclass(slots=True)
class Desk:
    """A browser and where the admin is. Whatever a page complains about is kept in `complaints`."""

    browser: Browser
    address: str
    contexts: list[BrowserContext] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def sit(self, name: str = "ops", *, theme: str = "light", width: int = 1280, javascript: bool = True) -> Page:
        """A page of somebody who is signed in, or of a stranger for the empty name."""
        context = self.browser.new_context(
            base_url=self.address,
            color_scheme="dark" if theme == "dark" else "light",
            viewport={"width": width, "height": 900},
            java_script_enabled=javascript,
        )
        self.contexts.append(context)
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))
        if name:
            session = signed_in(User.objects.get(username=name)).cookies[settings.SESSION_COOKIE_NAME].value
            context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": session, "url": self.address}])
        return context.new_page()

    def url(self, path: str) -> str:
        return urljoin(self.address, path)


@pytest.fixture(scope="session")
def admin_port(stack: Stack) -> Iterator[int]:
    """The control plane in a process of its own, for the whole session."""
    port = free_ports().web
    with control_plane(stack, port):
        yield port


@pytest.fixture
def desk(door: None, admin_port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """Playwright runs a loop in this thread; Django must be told that we ask the database from here all the same."""
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        desk = Desk(browser, f"http://{HOST}:{admin_port}")
        yield desk
        for context in desk.contexts:
            context.close()
        browser.close()
        databases.close_all()  # those that were opened inside the loop: outside of it Django knows another set
    assert desk.complaints == []
