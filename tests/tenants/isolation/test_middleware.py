"""What of the host middleware cannot be seen from outside; the rest is in tests/examples."""

from collections.abc import Iterator

import pytest

from examples.projects.models import Project
from tenants.context import current_or_none, tenant_scope
from tenants.errors import NoTenant
from tenants.isolation.middleware import BY_STATE, _each_in_scope
from tenants.states import TenantState
from tests.pair import Pair


def export() -> Iterator[bytes]:
    """A body that asks the database while it is sent, as a large CSV export does."""
    yield b"name\n"
    for project in Project.objects.order_by("name"):
        yield f"{project.name}\n".encode()


def test_a_body_made_while_it_is_sent_is_made_in_the_scope(pair: Pair) -> None:
    with tenant_scope(pair.acme):
        Project.objects.create(name="Rocket")
        body = export()
    sent = []
    for part in _each_in_scope(pair.acme, body):
        assert current_or_none() is None  # the server's own code between two parts is nobody's
        sent.append(part)
    assert sent == [b"name\n", b"Rocket\n"]


def test_without_that_it_would_be_refused(pair: Pair) -> None:
    with pytest.raises(NoTenant):
        list(export())


def test_every_state_but_active_has_its_page() -> None:
    assert set(BY_STATE) == set(TenantState) - {TenantState.ACTIVE}
