"""People at the admin's door, and operations in every state they may find: fixtures, for conftest files to import."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from controlplane.stack.embedded import Stack
from tests import databases, standing

PASSWORD = "a long enough password"


def someone(name: str, *permissions: str) -> User:
    """A member of the staff with these permissions, as `app.codename`."""
    user = User.objects.create_user(name, password=PASSWORD, is_staff=True)
    for permission in permissions:
        app, codename = permission.split(".")
        user.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))
    return user


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture(scope="session")
def peopled(stack: Stack, furnished: None, django_db_blocker: Any) -> None:
    """Templates for this folder: one with the staff, and two with a fleet in every state besides."""
    with django_db_blocker.unblock():
        databases.load(stack, "furnished")
        User.objects.create_superuser("ops", password=PASSWORD)
        views = Permission.objects.filter(codename__startswith="view_")
        someone("viewer").user_permissions.set(views)
        someone("nobody")
        databases.save_as(stack, "people")
        standing.make()
        for label in ("states", "states_to_look_at"):
            databases.save_as(stack, label)


@pytest.fixture
def door(stack: Stack, peopled: None, request: pytest.FixtureRequest, django_db_blocker: Any) -> Iterator[None]:
    """A control plane with staff. Tests that only look share one, the others get one each."""
    with django_db_blocker.unblock():
        if "look" in request.fixturenames:
            if not databases.is_loaded("states_to_look_at"):
                databases.load(stack, "states_to_look_at")
            yield
            databases.close_all()
        else:
            yield from databases.fresh(stack, "states" if "fleet_of_states" in request.fixturenames else "people")


@pytest.fixture
def ops(door: None) -> Client:
    """May everything."""
    return signed_in(User.objects.get(username="ops"))


@pytest.fixture
def viewer(door: None) -> Client:
    """May look at everything, and change nothing."""
    return signed_in(User.objects.get(username="viewer"))


@pytest.fixture
def nobody(door: None) -> Client:
    """May sign in."""
    return signed_in(User.objects.get(username="nobody"))


@pytest.fixture
def fleet_of_states(door: None) -> standing.Fleet:
    """One tenant in each state, with operations queued, running, waiting, paused, parked, failed and succeeded."""
    return standing.found()


@pytest.fixture
def look(door: None) -> standing.Fleet:
    """The same, shared: for tests that change nothing but sessions."""
    return standing.found()
