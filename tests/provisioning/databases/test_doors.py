"""What every tier promises of its doors: shut twice and opened twice, with the rows as they were."""

from contextlib import closing

import pytest

from provisioning.databases import tiers
from provisioning.databases.pool import NoDoor
from provisioning.databases.servers import ServerRefused, ServerUnavailable
from provisioning.databases.tiers import LoginRole, TenantDatabase
from provisioning.errors import StaleFence
from provisioning.models import Claim
from tenants.states import Tier
from tests.provisioning.databases.conftest import MakeTenant
from tests.provisioning.databases.making import Made, new_claim

TIERS: dict[str, tuple[Tier, set[str]]] = {
    "schema": (Tier.SCHEMA, {"ROLE_AJAR"}),
    "database": (Tier.DATABASE, {"ROLE_AJAR"}),
    "pool": (Tier.POOL, {"DOOR_AJAR"}),
    "pool with roles": (Tier.POOL, {"DOOR_AJAR", "ROLE_AJAR"}),
}


def each_door(made: Made, verb: str, claim: Claim) -> None:
    for provider, handle in ((TenantDatabase(), made.database), (LoginRole(), made.role)):
        getattr(provider, verb)(made.context, handle, claim=claim)


def ajar(made: Made) -> set[str]:
    found = (*TenantDatabase().ajar(made.context, made.database), *LoginRole().ajar(made.context, made.role))
    return {finding.code for finding in found}


@pytest.mark.parametrize(("tier", "doors"), TIERS.values(), ids=TIERS)
def test_shut_and_opened_twice_is_once_and_an_older_worker_does_neither(
    tier: Tier, doors: set[str], tenant: MakeTenant
) -> None:
    acme = tenant("acme", tier, own_role=len(doors) > 1)
    before, old = acme.count(), new_claim()
    assert ajar(acme) == doors
    for _attempt in range(2):
        each_door(acme, "shut", new_claim())
    assert (ajar(acme), acme.count()) == (set(), before)
    with pytest.raises((ServerRefused, ServerUnavailable)):
        tiers.connect(acme.context).close()
    with pytest.raises(StaleFence):
        each_door(acme, "open", old)
    assert ajar(acme) == set()
    for _attempt in range(2):
        each_door(acme, "open", new_claim())
    assert (ajar(acme), acme.findings(), acme.count()) == (doors, [], before)
    with closing(tiers.connect(acme.context)) as session:
        assert session.execute("SELECT count(*) FROM projects_tag").fetchall() == [(4,)]


def test_a_door_that_is_not_there_is_not_opened(tenant: MakeTenant) -> None:
    acme = tenant("acme", Tier.POOL)
    acme.remove()
    TenantDatabase().shut(acme.context, acme.database, claim=new_claim())
    with pytest.raises(NoDoor):
        TenantDatabase().open(acme.context, acme.database, claim=new_claim())
