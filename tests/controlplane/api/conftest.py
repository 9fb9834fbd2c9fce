"""A caller of the API: a key, and a client that sends it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.test import Client
from redis import Redis

from controlplane.api import limits
from controlplane.keys import WIDEST, NewKey, make_key
from controlplane.models import Scope
from controlplane.stack.embedded import Stack
from tenants.isolation.cache import PLATFORM_NAMESPACE
from tests import databases
from tests.fleet import BILLING


@dataclass
class Caller:
    """Calls the API with one key, as JSON."""

    key: NewKey
    client: Client = field(default_factory=Client)

    def get(self, path: str, query: str = "", **headers: str) -> Any:
        return self.client.get(address(path) + query, headers={**self.auth, **named(headers)})

    def post(self, path: str, body: Any = None, *, key: str | None = "", **headers: str) -> Any:
        """`key` is the Idempotency-Key: a fresh one when left out, none for None."""
        sent = {} if key is None else {"Idempotency-Key": key or str(uuid4())}
        return self.client.post(
            address(path),
            json.dumps({} if body is None else body),
            content_type="application/json",
            headers={**self.auth, **sent, **named(headers)},
        )

    def patch(self, path: str, body: Any, **headers: str) -> Any:
        return self.client.patch(
            address(path), json.dumps(body), content_type="application/json", headers={**self.auth, **named(headers)}
        )

    @property
    def auth(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key.token}"}


def address(path: str) -> str:
    return path if path.startswith("/") else f"/api/v1/{path}"


def named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def caller(principal: str = "billing", scopes: list[Scope] | None = None, **more: Any) -> Caller:
    limited = {
        "reads_per_minute": 100_000,
        "writes_per_minute": 100_000,
        "erasures_per_hour": 100_000,
        **more,
    }
    return Caller(make_key(principal=principal, name="for a test", scopes=scopes or WIDEST, actor=BILLING, **limited))


@pytest.fixture(autouse=True)
def _nothing_counted_yet() -> Iterator[None]:
    """Counters and silence of one test are none of the next one's business."""
    limits._Silence.until = 0.0
    with Redis.from_url(settings.CACHE_URL) as valkey:
        for name in valkey.scan_iter(f"{PLATFORM_NAMESPACE}{limits.NAMES}:*"):
            valkey.delete(name)
    yield
    limits._Silence.until = 0.0


@pytest.fixture(scope="module")
def shared_house(stack: Stack, furnished: None, django_db_blocker: Any) -> Iterator[None]:
    """One `house` for a whole module. Never beside `house` or `control`: there is one control database at a time."""
    with django_db_blocker.unblock():
        yield from databases.fresh(stack, "furnished")


@pytest.fixture
def billing(house: None) -> Caller:
    """A key that may everything, in a control plane that can onboard."""
    return caller()


ACME = {"slug": "acme", "name": "Acme GmbH", "plan": "standard"}
GLOBEX = {"slug": "globex", "name": "Globex", "plan": "standard"}
