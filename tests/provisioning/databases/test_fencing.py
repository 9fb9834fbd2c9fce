import threading
from dataclasses import replace
from typing import Any

import pytest

from provisioning.databases.fencing import application_name, fenced, fenced_without_transaction
from provisioning.databases.servers import ServerUnavailable, run, sealed_url
from provisioning.databases.tiers import TenantDatabase
from provisioning.errors import StaleFence
from provisioning.models import Claim
from tenants.models import Cluster
from tenants.states import Tier
from tests.provisioning.databases.making import Made, make_tenant, new_claim


@pytest.mark.parametrize("tier", Tier)
@pytest.mark.parametrize("verb", ["provision", "deprovision"])
def test_a_worker_that_lost_its_claim_changes_nothing(tier: Tier, verb: str, house: None, cluster: Cluster) -> None:
    acme, late, newer = make_tenant("acme", tier), new_claim(), new_claim()
    with fenced(acme.context, newer, cluster):
        pass
    before = acme.findings()
    with pytest.raises(StaleFence):
        getattr(TenantDatabase(), verb)(acme.context, acme.database, claim=late)
    assert acme.findings() == before


def test_the_same_claim_may_come_again(house: None, cluster: Cluster) -> None:
    acme, claim = make_tenant("acme", Tier.SCHEMA), new_claim()
    for _attempt in range(2):
        with fenced(acme.context, claim, cluster) as connection:
            assert run(connection, "SELECT 1") == [(1,)]


def interrupted(acme: Made, older: Claim, newer: Claim, cluster: Cluster) -> list[Any]:
    """A newer claim comes while an older one holds the row and a second connection: what the newer one finds there."""
    found: list[Any] = []

    def frozen() -> None:
        with fenced_without_transaction(acme.context, older, cluster) as beside:
            with fenced(acme.context, newer, cluster) as connection:
                found.extend(
                    run(connection, "SELECT fence FROM tenure.fence WHERE tenant_id = %s", acme.context.tenant_id)
                )
            run(beside, "CREATE DATABASE never")

    with pytest.raises(ServerUnavailable):
        frozen()
    return found


def test_a_session_of_an_older_claim_is_ended_with_all_it_holds(house: None, cluster: Cluster) -> None:
    acme, older = make_tenant("acme", Tier.SCHEMA), new_claim()
    newer = replace(older, fence=new_claim().fence)
    assert interrupted(acme, older, newer, cluster) == [(newer.fence,)]


def test_a_former_run_of_the_same_tenant_is_ended_too(house: None, cluster: Cluster) -> None:
    """Its fence row is not committed yet, so nothing in the table tells of it."""
    acme, former, latter = make_tenant("acme", Tier.SCHEMA), new_claim(), new_claim()
    assert interrupted(acme, former, latter, cluster) == [(latter.fence,)]


def test_sessions_of_other_tenants_are_left_alone(house: None, cluster: Cluster) -> None:
    acme, globex = make_tenant("acme", Tier.SCHEMA), make_tenant("globex", Tier.SCHEMA)
    older, newer = new_claim(), new_claim()
    with fenced(globex.context, older, cluster) as theirs, fenced(acme.context, newer, cluster):
        assert run(theirs, "SELECT 1") == [(1,)]


def test_two_claims_at_once_are_served_one_after_the_other(house: None, cluster: Cluster) -> None:
    """The row is held until the first transaction ends, also while CREATE DATABASE runs on another connection."""
    acme, claim = make_tenant("acme", Tier.SCHEMA), new_claim()
    seen: list[str] = []

    def second() -> None:
        with fenced(acme.context, claim, cluster):
            seen.append("second")

    with fenced(acme.context, claim, cluster) as connection:
        thread = threading.Thread(target=second)
        thread.start()
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND wait_event_type = 'Lock'"
        while run(connection, waiting, application_name(claim)) != [(1,)]:
            run(connection, "SELECT pg_stat_clear_snapshot()")
        seen.append("first")
    thread.join()
    assert seen == ["first", "second"]


def test_a_server_that_does_not_answer_is_transient(house: None, cluster: Cluster) -> None:
    acme = make_tenant("acme", Tier.SCHEMA)
    url = "postgresql://someone:hidden-word@127.0.0.1:1/nowhere"
    Cluster.objects.update(sealed_url=sealed_url(url, cluster))
    with pytest.raises(ServerUnavailable) as refused:
        TenantDatabase().provision(acme.context, acme.database, claim=new_claim())
    assert "hidden-word" not in str(refused.value)


def test_the_name_of_a_session_fits_and_tells_its_claim() -> None:
    claim = Claim(run_id=new_claim().run_id, fence=2**62, token="")
    assert len(application_name(claim)) <= 63
    assert application_name(claim) == f"tenure:{claim.run_id.hex}:{2**62}"
