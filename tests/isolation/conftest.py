from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connections
from django.test import override_settings

from controlplane.stack.embedded import Stack
from tenants.isolation import credentials, keys
from tenants.isolation.remote import ControlPlane
from tests import databases
from tests.isolation import arena as making
from tests.isolation.arena import Arena, Place
from tests.live import Live
from tests.pair import Pair

CACHES = {  # an application's, of which the control plane's own differ
    "default": {
        "BACKEND": "tenants.isolation.cache.TenantCache",
        "KEY_FUNCTION": "tenants.isolation.cache.make_key",
    }
}


@pytest.fixture(scope="session")
def made(stack: Stack, both: Pair, django_db_blocker: Any) -> dict[Place, Any]:
    with django_db_blocker.unblock():
        return making.make(stack)


@pytest.fixture(scope="module")
def arenas(  # noqa: PLR0917  fixtures
    stack: Stack, both: Pair, live: Live, made: dict[Place, Any], django_db_blocker: Any, settings_of_application: None
) -> Iterator[Callable[[Place], Arena]]:
    """Each place once for a module; credentials and keys come from the control plane's doors, as an application's."""
    with django_db_blocker.unblock():
        databases.load(stack, making.TEMPLATE)
        former = credentials._kept.source, keys._kept.source
        door = ControlPlane(f"http://127.0.0.1:{live.web}", both.key)
        credentials.register(door)
        keys.register(door)
        known: dict[Place, Arena] = {}

        def arena_of(place: Place) -> Arena:
            if place not in known:
                acme, globex = made[place]
                known[place] = Arena(place, acme, globex, stack, live.web, both.key)
                making.plant(known[place])
            return known[place]

        yield arena_of
        credentials.register(former[0])
        keys.register(former[1])
        for context in (context for pair in made.values() for context in pair):
            if context.key in connections.settings:
                connections[context.key].close()
        databases.close_all()


@pytest.fixture(scope="module")
def settings_of_application(live: Live) -> Iterator[None]:
    from django.conf import settings

    caches = {"default": {**CACHES["default"], "LOCATION": settings.CACHE_URL}}
    with override_settings(CACHES=caches, ALLOWED_HOSTS=["*"], TENURE_API_URL=f"http://127.0.0.1:{live.web}"):
        yield


@pytest.fixture
def arena_of(arenas: Callable[[Place], Arena], django_db_blocker: Any) -> Iterator[Callable[[Place], Arena]]:
    with django_db_blocker.unblock():
        yield arenas
