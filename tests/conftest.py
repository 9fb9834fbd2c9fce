from collections.abc import Iterator
from typing import Any

import pytest

from controlplane.stack.embedded import Stack
from tests import databases


@pytest.fixture(scope="session")
def migrated(stack: Stack, django_db_blocker: Any) -> None:
    """The control and keyring databases migrated once, kept as a template."""
    with django_db_blocker.unblock():
        databases.migrate()
        databases.save_as(stack, "migrated")


@pytest.fixture
def control(stack: Stack, migrated: None, django_db_blocker: Any) -> Iterator[None]:
    """A control database of this test's own: migrated, empty, with real commits."""
    with django_db_blocker.unblock():
        yield from databases.fresh(stack, "migrated")
