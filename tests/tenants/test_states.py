import pytest

from tenants.errors import StateConflict
from tenants.models import Cluster, NotDeletable, Plan, Tenant
from tenants.states import TenantState, Tier


@pytest.fixture
def acme(control: None) -> Tenant:
    plan = Plan.objects.create(name="standard", tier=Tier.SCHEMA)
    return Tenant.objects.create(slug="acme", name="Acme", principal="billing", plan=plan, region="local")


def test_a_tenant_moves_only_along_its_transitions(acme: Tenant) -> None:
    acme.to(TenantState.ACTIVE)
    with pytest.raises(StateConflict, match="cannot become failed"):
        acme.to(TenantState.FAILED)
    assert Tenant.objects.get(pk=acme.pk).state == TenantState.ACTIVE


def test_of_two_who_change_a_state_at_once_one_is_told(acme: Tenant) -> None:
    stale = Tenant.objects.get(pk=acme.pk)
    acme.to(TenantState.ACTIVE)
    with pytest.raises(StateConflict, match="same moment"):
        stale.to(TenantState.ACTIVE)


def test_every_change_of_state_raises_the_version(acme: Tenant) -> None:
    before = acme.version
    acme.to(TenantState.ACTIVE)
    assert acme.version == before + 1


def test_neither_a_tenant_nor_a_queryset_of_tenants_can_be_deleted(acme: Tenant) -> None:
    with pytest.raises(NotDeletable):
        acme.delete()
    with pytest.raises(NotDeletable):
        Tenant.objects.filter(slug="acme").delete()
    assert Tenant.objects.count() == 1
    assert Cluster.objects.count() == 0
