import pytest

from provisioning import lifecycle
from provisioning.models import Resource
from tenants.models import Domain, Event
from tenants.states import TenantState, Tier
from tests.fleet import BILLING, onboarded


@pytest.mark.parametrize("tier", Tier)
def test_an_accepted_tenant_becomes_active_with_everything_it_owns(house: None, tier: Tier) -> None:
    acme = onboarded("acme", tier)
    assert acme.state == TenantState.ACTIVE
    assert set(acme.resources.values_list("state", flat=True)) == {Resource.State.READY}
    assert {finding.severity for finding in lifecycle.verify_resources(tenant=acme, actor=BILLING)} <= {"info"}
    assert Domain.objects.get(tenant=acme).domain == "acme.localhost"
    assert list(Event.objects.filter(tenant=acme).values_list("type", "sequence").order_by("sequence")) == [
        ("tenant.created", 1),
        ("tenant.activated", 2),
        ("operation.succeeded", 3),
    ]
