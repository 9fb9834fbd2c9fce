"""Tenants over the API: accepted, followed, active; planned, changed, retried; their credentials."""

from controlplane.models import Scope
from provisioning import lifecycle
from provisioning.models import IdempotencyKey, Queue, Release, Run
from tenants.models import Cluster, Tenant
from tests.controlplane.api.conftest import ACME, GLOBEX, Caller, caller


def driven() -> None:
    lifecycle.advance(queue=Queue.OPERATIONS)


def test_one_call_makes_a_live_tenant(billing: Caller) -> None:
    accepted = billing.post("tenants", {**ACME, "external_ref": "crm-4711", "labels": {"team": "north"}})
    body = accepted.json()
    assert accepted.status_code == 202
    assert accepted["Location"] == f"/api/v1/operations/{body['operation']['id']}"
    assert (body["operation"]["state"], body["tenant"]["state"]) == ("queued", "provisioning")
    assert body["tenant"]["operation"]["id"] == body["operation"]["id"]
    assert body["tenant"]["actions"] == []
    driven()
    operation = billing.get(accepted["Location"]).json()
    assert (operation["state"], operation["result"]) == ("succeeded", {"tenant": body["tenant"]["id"]})
    tenant = billing.get(f"tenants/{body['tenant']['id']}").json()
    assert tenant["state"] == "active"
    assert tenant["health"] == "ok"
    assert tenant["operation"] is None
    assert tenant["placement"]["tier"] == "schema"
    assert tenant["release"]["behind"] == 0
    assert tenant["external_ref"] == "crm-4711"
    assert tenant["labels"] == {"team": "north"}
    assert tenant["actions"] == ["credentials", "rotate_credentials", "suspend", "delete", "export"]


def test_validate_only_shows_the_plan_and_does_nothing(billing: Caller) -> None:
    answer = billing.post("tenants?validate_only=true", ACME, key=None)
    plan = answer.json()
    assert (answer.status_code, plan["object"], plan["verb"]) == (200, "plan", "tenant.onboard")
    assert plan["pivot"] == plan["steps"][-1] == "activate"
    assert plan["blockers"] == []
    assert plan["digest"].startswith("sha256:")
    assert (Tenant.objects.count(), Run.objects.count(), IdempotencyKey.objects.count()) == (0, 0, 0)
    assert billing.post("tenants?validate_only=true", {**ACME, "slug": "admin"}, key=None).status_code == 422


def test_the_steps_that_run_are_the_steps_that_were_planned(billing: Caller) -> None:
    plan = billing.post("tenants?validate_only=true", ACME, key=None).json()
    operation = billing.post("tenants", ACME).json()["operation"]
    assert [step["name"] for step in operation["steps"]] == plan["steps"]


def test_a_call_may_be_bound_to_the_plan_that_was_seen(billing: Caller) -> None:
    digest = billing.post("tenants?validate_only=true", ACME, key=None).json()["digest"]
    other = billing.post("tenants", {**GLOBEX, "plan_digest": digest})
    assert (other.status_code, other.json()["code"]) == (409, "PLAN_CHANGED")
    assert billing.post("tenants", {**ACME, "plan_digest": digest}).status_code == 202


def test_blockers_name_what_is_in_the_way(billing: Caller) -> None:
    billing.post("tenants", ACME)
    plan = billing.post("tenants?validate_only=true", ACME, key=None).json()
    assert [(blocker["code"], blocker["severity"]) for blocker in plan["blockers"]] == [("TENANT_EXISTS", "error")]


def test_a_taken_slug_is_a_conflict_that_names_the_tenant_to_its_owner_only(billing: Caller) -> None:
    acme = billing.post("tenants", {**ACME, "external_ref": "crm-4711"}).json()["tenant"]["id"]
    mine = billing.post("tenants", ACME)
    assert (mine.status_code, mine.json()["code"]) == (409, "TENANT_EXISTS")
    assert mine.json()["metadata"] == {"tenant": acme}
    assert billing.post("tenants", {**GLOBEX, "external_ref": "crm-4711"}).json()["metadata"] == {"tenant": acme}
    theirs = caller("shop").post("tenants", ACME)
    assert (theirs.status_code, theirs.json()["metadata"]) == (409, {})
    assert acme.removeprefix("ten_") not in theirs.content.decode()


def test_two_principals_may_use_the_same_external_ref(billing: Caller) -> None:
    assert billing.post("tenants", {**ACME, "external_ref": "1"}).status_code == 202
    assert caller("shop").post("tenants", {**GLOBEX, "external_ref": "1"}).status_code == 202


def test_a_tier_that_the_plan_lacks_is_refused(billing: Caller) -> None:
    answer = billing.post("tenants", {**ACME, "tier": "database"})
    assert (answer.status_code, answer.json()["code"]) == (422, "UNSUPPORTED_TARGET")
    assert billing.post("tenants", {**ACME, "plan": "dedicated", "tier": "database"}).status_code == 202


def test_a_full_region_is_said_with_the_reason(billing: Caller) -> None:
    Cluster.objects.update(capacity=0)
    answer = billing.post("tenants", ACME)
    assert (answer.status_code, answer.json()["code"]) == (503, "NO_CAPACITY")
    assert "local-1" in answer.json()["metadata"]["clusters"]
    assert int(answer["Retry-After"]) > 0
    assert not Tenant.objects.exists()


def test_without_a_release_nothing_is_accepted(billing: Caller) -> None:
    Release.objects.update(current=False)
    answer = billing.post("tenants", ACME)
    assert (answer.status_code, answer.json()["code"]) == (503, "NO_RELEASE")


def test_null_is_not_set(billing: Caller) -> None:
    answer = billing.post("tenants", {**ACME, "tier": None, "region": None, "external_ref": None, "plan_digest": None})
    assert answer.status_code == 202


def test_a_change_needs_the_etag_that_was_read(billing: Caller) -> None:
    acme = billing.post("tenants", ACME).json()["tenant"]["id"]
    etag = billing.get(f"tenants/{acme}")["ETag"]
    assert billing.patch(f"tenants/{acme}", {"name": "Acme AG"}).json()["code"] == "ETAG_REQUIRED"
    for wrong in ('"0"', f"W/{etag}", "nonsense", '"'):
        refused = billing.patch(f"tenants/{acme}", {"name": "Acme AG"}, If_Match=wrong)
        assert (refused.status_code, refused.json()["code"]) == (412, "ETAG_MISMATCH")
    changed = billing.patch(f"tenants/{acme}", {"name": "Acme AG", "labels": {}}, If_Match=f'"0", {etag}')
    assert (changed.status_code, changed.json()["name"]) == (200, "Acme AG")
    assert changed["ETag"] == f'"{changed.json()["version"]}"' != etag
    assert billing.patch(f"tenants/{acme}", {"name": "late"}, If_Match=etag).status_code == 412
    assert billing.patch(f"tenants/{acme}", {"deletion_protection": True}, If_Match="*").status_code == 200


def test_a_change_of_plan_moves_nothing(billing: Caller) -> None:
    acme = billing.post("tenants", ACME).json()["tenant"]["id"]
    changed = billing.patch(f"tenants/{acme}", {"plan": "dedicated"}, If_Match="*").json()
    assert (changed["plan"], changed["placement"]["tier"]) == ("dedicated", "schema")


def test_what_only_verbs_change_is_no_field_to_write(billing: Caller) -> None:
    acme = billing.post("tenants", ACME).json()["tenant"]["id"]
    for field in ("slug", "tier", "state", "region", "external_ref", "version"):
        answer = billing.patch(f"tenants/{acme}", {field: "globex"}, If_Match="*")
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "UNKNOWN"), field
    answer = billing.patch(f"tenants/{acme}", {"deletion_protection": "true"}, If_Match="*")
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "INVALID")


def test_a_change_is_planned_with_every_check_and_without_an_effect(billing: Caller) -> None:
    acme = billing.post("tenants", ACME).json()["tenant"]
    path = f"tenants/{acme['id']}?validate_only=true"
    plan = billing.patch(path, {"name": "Acme AG", "plan": "dedicated"}, If_Match="*").json()
    assert (plan["verb"], plan["steps"]) == ("tenant.change", ["change name", "change plan"])
    assert billing.patch(path, {"plan": "golden"}, If_Match="*").status_code == 422
    assert billing.patch(path, {}, If_Match="*").json()["errors"][0]["code"] == "EMPTY"
    assert billing.patch(path, {"name": "Acme AG"}, If_Match='"77"').status_code == 412
    now = billing.get(f"tenants/{acme['id']}").json()
    assert (now["name"], now["version"]) == (acme["name"], acme["version"])


def test_a_key_that_only_reads_changes_nothing(billing: Caller) -> None:
    reader = caller("shop", [Scope.TENANTS_READ])
    acme = billing.post("tenants", ACME).json()["tenant"]["id"]
    assert reader.get(f"tenants/{acme}").status_code == 200
    assert reader.patch(f"tenants/{acme}", {"name": "mine"}, If_Match="*").status_code == 403
    assert Tenant.objects.get().name == ACME["name"]
