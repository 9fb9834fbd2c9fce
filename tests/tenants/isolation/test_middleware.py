"""What of the host middleware cannot be seen from outside; the rest is in tests/examples."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import RequestFactory

from examples.projects.models import Project
from tenants.context import current_or_none, tenant_scope
from tenants.errors import NoTenant
from tenants.isolation import refusals
from tenants.isolation.middleware import BY_STATE, TenantHostMiddleware, _each_in_scope
from tenants.isolation.refusals import LOGGER
from tenants.models import Tenant
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


HOSTS = {
    "nobody.localhost": (404, "unknown host"),
    "two..dots": (404, "no host name"),
    "acme.localhost": (403, "tenant is suspended"),
}


@pytest.mark.parametrize("host", HOSTS)
def test_whom_it_turns_away_is_told_as_a_refusal(
    host: str, changing_pair: Pair, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.ALLOWED_HOSTS = [".localhost"]
    status, reason = HOSTS[host]
    Tenant.objects.filter(slug="acme").update(state=TenantState.SUSPENDED)
    refusals._counted.counts.clear()
    answer = TenantHostMiddleware(lambda _request: HttpResponse())(RequestFactory().get("/", HTTP_HOST=host))
    assert answer.status_code == status
    (told,) = (record for record in caplog.records if record.name == LOGGER)
    assert (vars(told)["event"], vars(told)["reason"]) == ("isolation.refused.host", reason)


def test_a_page_that_waits_for_its_tenant_is_no_refusal(
    changing_pair: Pair, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.ALLOWED_HOSTS = [".localhost"]
    Tenant.objects.filter(slug="acme").update(state=TenantState.PROVISIONING)
    answer = TenantHostMiddleware(lambda _request: HttpResponse())(
        RequestFactory().get("/", HTTP_HOST="acme.localhost")
    )
    assert answer.status_code == 503
    assert not [record for record in caplog.records if record.name == LOGGER]


def test_every_state_but_active_has_its_page() -> None:
    assert set(BY_STATE) == set(TenantState) - {TenantState.ACTIVE}
