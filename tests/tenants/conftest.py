import pytest

from tenants.models import Plan, Tenant
from tenants.states import Tier


@pytest.fixture
def plan(control: None) -> Plan:
    return Plan.objects.create(name="standard", tier=Tier.SCHEMA)


@pytest.fixture
def globex(plan: Plan) -> Tenant:
    """The neighbour, who must never notice."""
    return Tenant.objects.create(slug="globex", name="Globex", principal="billing", plan=plan, region="local")
