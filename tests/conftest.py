import gc
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.core.checks.registry import registry
from hypothesis import HealthCheck, settings

from controlplane.stack.embedded import Stack
from provisioning.databases import programs
from tests import databases, fleet, pool_by_hand, warm
from tests import live as processes
from tests import pair as side_by_side

PBKDF2PasswordHasher.iterations = 1  # what makes guessing slow makes half a second of each member of the staff

# How fast this machine is proves nothing; and what our fixtures give, no example changes for the next.
UNTIMED = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
settings.register_profile("tenure", deadline=None, suppress_health_check=UNTIMED)
settings.load_profile("tenure")


def pytest_collection_finish() -> None:
    """Modules and tests stay until the end. To look at them again and again for garbage was a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


@pytest.fixture(scope="session")
def our_checks() -> frozenset[object]:
    """Django's system checks as this installation registers them."""
    return frozenset(registry.registered_checks)


@pytest.fixture(autouse=True)
def _nobody_elses_checks(our_checks: frozenset[object]) -> None:
    """An application that a test publishes brings its own along, which fail where it is not installed."""
    registry.registered_checks.intersection_update(our_checks)


@pytest.fixture(scope="session")
def warm_programs(stack: Stack) -> Iterator[None]:
    """Publishing and replaying start their programs as forks of one process: see warm.py."""
    with warm.served(stack.folder / "warm") as python:
        programs.PYTHON[:] = python
        yield


@pytest.fixture(scope="session")
def migrated(stack: Stack, warm_programs: None, django_db_blocker: Any) -> None:
    """The control and keyring databases migrated once, kept as a template."""
    with django_db_blocker.unblock():
        databases.migrate()
        databases.save_as(stack, "migrated")


@pytest.fixture
def control(stack: Stack, migrated: None, django_db_blocker: Any) -> Iterator[None]:
    """A control database of this test's own: migrated, empty, with real commits."""
    with django_db_blocker.unblock():
        yield from databases.fresh(stack, "migrated")


@pytest.fixture(scope="session")
def furnished(stack: Stack, migrated: None, django_db_blocker: Any) -> None:
    """The same with a cluster, plans and a published release: what a first run makes."""
    with django_db_blocker.unblock():
        databases.load(stack, "migrated")
        fleet.furnish()
        databases.save_as(stack, "furnished")


@pytest.fixture
def house(stack: Stack, furnished: None, django_db_blocker: Any) -> Iterator[None]:
    """A control plane of this test's own that can onboard."""
    with django_db_blocker.unblock():
        yield from databases.fresh(stack, "furnished")


@pytest.fixture(scope="session")
def both(stack: Stack, furnished: None, django_db_blocker: Any) -> side_by_side.Pair:
    """acme in the schema tier and globex in the database tier, made once; ask for `pair` instead."""
    with django_db_blocker.unblock():
        return side_by_side.make(stack)


@pytest.fixture
def pair(stack: Stack, both: side_by_side.Pair, django_db_blocker: Any) -> Iterator[side_by_side.Pair]:
    """acme and globex without rows of their own, over one control database for all tests that leave it alone."""
    with django_db_blocker.unblock():
        if not databases.is_loaded(side_by_side.TEMPLATE):
            databases.load(stack, side_by_side.TEMPLATE)
        try:
            yield both
            side_by_side.wipe(both)
        finally:
            databases.close_all()


@pytest.fixture
def changing_pair(stack: Stack, both: side_by_side.Pair, django_db_blocker: Any) -> Iterator[side_by_side.Pair]:
    """The same with a control database of this test's own. What it changes on the servers it changes back."""
    with django_db_blocker.unblock():
        databases.load(stack, side_by_side.TEMPLATE)
        try:
            yield both
        finally:
            databases.load(stack, side_by_side.TEMPLATE)


@pytest.fixture(scope="module")
def made_by_hand(stack: Stack, django_db_blocker: Any) -> Iterator[pool_by_hand.PoolByHand]:
    """A small pool without a control plane; ask for `by_hand` instead."""
    with django_db_blocker.unblock():
        made = pool_by_hand.make(stack)
        yield made
        pool_by_hand.remove(made, stack)


@pytest.fixture
def by_hand(made_by_hand: pool_by_hand.PoolByHand, django_db_blocker: Any) -> Iterator[pool_by_hand.PoolByHand]:
    """The same without rows, as the source of this process's credentials."""
    with django_db_blocker.unblock(), pool_by_hand.served(made_by_hand):
        yield made_by_hand
        pool_by_hand.wiped(made_by_hand)


@pytest.fixture(scope="session")
def live(stack: Stack, both: side_by_side.Pair) -> Iterator[processes.Live]:
    """The control plane and the example site, each a process of its own; ask for `pair` beside it."""
    with processes.served(stack, both.key) as served:
        yield served
