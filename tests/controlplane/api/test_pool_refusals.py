"""Onboardings into a pool that are refused, and why."""

from provisioning.models import Release
from tenants.models import Cluster, Pool, Tenant
from tests.controlplane.api.conftest import Caller


def test_a_release_that_cannot_be_pooled_is_refused_with_its_first_refusal(billing: Caller) -> None:
    refusals = [
        {"statement": "CREATE TABLE a  (LIKE b)", "reason": "LIKE copies keys.", "instead": "List the columns."}
    ]
    Release.objects.filter(current=True).update(pool_refusals=refusals)
    body = {"slug": "acme", "name": "Acme", "plan": "pool"}
    plan = billing.post("tenants?validate_only=true", body, key=None).json()
    refused = billing.post("tenants", body)
    assert (refused.status_code, refused.json()["code"]) == (422, "RELEASE_CANNOT_BE_POOLED")
    assert "LIKE copies keys. In: CREATE TABLE a (LIKE b)" in refused.json()["detail"]
    assert "List the columns." in refused.json()["hint"]
    assert [each["code"] for each in plan["blockers"]] == ["RELEASE_CANNOT_BE_POOLED"]
    assert not Tenant.objects.exists()
    assert billing.post("tenants", {**body, "plan": "standard"}).status_code == 202


def test_a_full_cluster_says_how_its_pools_stand(billing: Caller) -> None:
    Cluster.objects.update(capacity=2, placed=2)
    Pool.objects.update(state=Pool.State.DRAINING)
    refused = billing.post("tenants", {"slug": "acme", "name": "Acme", "plan": "pool"})
    assert (refused.status_code, refused.json()["code"]) == (503, "NO_CAPACITY")
    assert "local-1 is full (2 of 2); there pool_1 is draining" in refused.json()["detail"]


def test_a_release_tells_all_of_its_refusals(billing: Caller) -> None:
    refusals = [{"statement": "TRUNCATE t", "reason": "It empties all.", "instead": "Write DELETE FROM."}]
    (before,) = billing.get("releases").json()["results"]
    assert before["pool_refusals"] == []
    Release.objects.update(pool_refusals=refusals)
    assert billing.get(f"releases/{before['id']}").json()["pool_refusals"] == refusals
