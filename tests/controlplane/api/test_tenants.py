"""Tenants over the API: accepted, followed, active; planned, changed, retried; their credentials."""

from typing import Any

import psycopg
import pytest
from django.db import connection

from controlplane.keys import actor_of
from controlplane.models import Scope
from provisioning import lifecycle
from provisioning.models import IdempotencyKey, Pool, Release, Resource, Run
from tenants.models import Cluster, Tenant
from tests.controlplane.api.conftest import ACME, GLOBEX, Caller, caller


def driven() -> None:
    lifecycle.advance(pool=Pool.OPERATIONS)


def failed_acme(billing: Caller) -> str:
    """A tenant whose onboarding was undone: its release was withdrawn in between."""
    tenant: str = billing.post("tenants", ACME).json()["tenant"]["id"]
    Release.objects.update(current=False)
    driven()
    Release.objects.update(current=True)
    assert billing.get(f"tenants/{tenant}").json()["state"] == "failed"
    return tenant


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
    assert tenant["actions"] == ["credentials", "rotate_credentials"]


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


def test_a_retry_is_planned_and_bound_to_its_plan(billing: Caller) -> None:
    acme = failed_acme(billing)
    runs = Run.objects.count()
    answer = billing.post(f"tenants/{acme}/retry?validate_only=true", {"reason": "again"}, key=None)
    plan = answer.json()
    assert (answer.status_code, plan["verb"], plan["blockers"]) == (200, "tenant.retry", [])
    rotate = billing.post(f"tenants/{acme}/rotate-credentials?validate_only=true", {"reason": "leak"}, key=None).json()
    assert [blocker["code"] for blocker in rotate["blockers"]] == ["STATE_CONFLICT"]
    assert Run.objects.count() == runs
    other = billing.post(f"tenants/{acme}/retry", {"reason": "again", "plan_digest": rotate["digest"]})
    assert (other.status_code, other.json()["code"]) == (409, "PLAN_CHANGED")
    same = billing.post(f"tenants/{acme}/retry", {"reason": "again", "plan_digest": plan["digest"]})
    assert same.status_code == 202


def test_a_failed_onboarding_stays_visible_and_is_retried_on_the_same_tenant(billing: Caller) -> None:
    acme = failed_acme(billing)
    tenant = billing.get(f"tenants/{acme}").json()
    assert (tenant["operation"], tenant["actions"]) == (None, ["retry"])
    failed = billing.get(f"tenants/{acme}/operations").json()["results"][0]
    assert failed["state"] == "failed"
    assert failed["result"] is None
    assert failed["error"]["code"] == "NO_RELEASE"
    assert failed["error"]["hint"]
    again = billing.post(f"tenants/{acme}/retry", {"reason": "it is published again"})
    assert again.status_code == 202
    assert again.json()["tenant"]["id"] == acme
    assert again.json()["operation"]["id"] != failed["id"]
    assert again.json()["operation"]["reason"] == "it is published again"
    driven()
    assert billing.get(f"tenants/{acme}").json()["state"] == "active"


def test_a_verb_honours_the_etag_when_one_is_given(billing: Caller) -> None:
    acme = failed_acme(billing)
    late = billing.post(f"tenants/{acme}/retry", {"reason": "again"}, If_Match='"1"')
    assert (late.status_code, late.json()["code"]) == (412, "ETAG_MISMATCH")
    now = billing.get(f"tenants/{acme}")["ETag"]
    assert billing.post(f"tenants/{acme}/retry", {"reason": "again"}, If_Match=now).status_code == 202


def test_a_verb_in_the_wrong_state_is_a_conflict(billing: Caller) -> None:
    acme = billing.post("tenants", ACME).json()["tenant"]["id"]
    for verb, body in (("retry", {"reason": "again"}), ("credentials", {}), ("rotate-credentials", {"reason": "leak"})):
        answer = billing.post(f"tenants/{acme}/{verb}", body)
        assert (answer.status_code, answer.json()["code"]) == (409, "STATE_CONFLICT")


def test_a_verb_without_a_reason_is_refused(billing: Caller) -> None:
    acme = failed_acme(billing)
    for body in ({}, {"reason": ""}, {"reason": "  "}, {"reason": None}):
        answer = billing.post(f"tenants/{acme}/retry", body)
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == "reason"


def test_a_second_operation_on_a_busy_tenant_is_refused_with_the_first_ones_id(billing: Caller) -> None:
    acme = billing.post("tenants", ACME).json()["tenant"]["id"]
    driven()
    first = billing.post(f"tenants/{acme}/rotate-credentials", {"reason": "a leak"}).json()["operation"]
    assert first["type"] == "tenant.rotate_credentials"
    second = billing.post(f"tenants/{acme}/rotate-credentials", {"reason": "a leak"})
    assert (second.status_code, second.json()["code"]) == (409, "OPERATION_IN_PROGRESS")
    assert second.json()["metadata"] == {"blocking_operation": first["id"]}
    assert second.json()["retryable"] is True


def everything_stored() -> str:
    """All that the control database keeps and this role may read, as text."""
    readable = "SELECT format('%I', tablename) FROM pg_tables WHERE schemaname = 'public'"
    texts: list[str] = []
    with connection.cursor() as cursor:
        cursor.execute(f"{readable} AND has_table_privilege(format('%I.%I', schemaname, tablename), 'SELECT')")
        for (table,) in cursor.fetchall():
            cursor.execute(f"SELECT string_agg(t::text, ' ') FROM {table} t")
            texts.append(cursor.fetchone()[0] or "")
    return " ".join(texts)


def test_credentials_are_handed_out_fresh_and_kept_nowhere(billing: Caller, caplog: pytest.LogCaptureFixture) -> None:
    acme = billing.post("tenants", ACME).json()["tenant"]["id"]
    driven()
    key = "the-same-key-for-both"
    first, second = (billing.post(f"tenants/{acme}/credentials", key=key) for _ in range(2))
    assert (first.status_code, first["Cache-Control"]) == (200, "no-store")
    given = first.json()
    with psycopg.connect(given["database"]["url"]) as theirs:
        assert theirs.execute("SELECT current_user").fetchone() == (given["database"]["user"],)
    assert given["storage"]["session_token"] != second.json()["storage"]["session_token"]
    secrets = [
        given["database"]["password"],
        given["storage"]["secret_access_key"],
        given["storage"]["session_token"],
    ]
    stored = everything_stored() + caplog.text
    assert IdempotencyKey.objects.filter(key=key).count() == 0
    assert not [secret for secret in secrets if secret in stored or secret.encode().hex() in stored]


def test_a_hand_out_leaves_an_audit_entry_that_names_the_key(billing: Caller) -> None:
    acme = billing.post("tenants", ACME).json()["tenant"]["id"]
    driven()
    billing.post(f"tenants/{acme}/credentials")
    with connection.cursor() as cursor:
        cursor.execute("SELECT body FROM audit_entry WHERE body LIKE '%credentials.handed_out%'")
        (body,) = cursor.fetchone()
    assert str(actor_of(billing.key.key)) in body


def test_resources_are_listed_without_secrets(billing: Caller) -> None:
    acme = billing.post("tenants", ACME).json()["tenant"]["id"]
    driven()
    listed: list[dict[str, Any]] = billing.get(f"tenants/{acme}/resources").json()["results"]
    assert {one["kind"] for one in listed} == set(Resource.objects.values_list("kind", flat=True))
    assert {one["state"] for one in listed} == {"ready"}
    assert all(one["verified_at"] for one in listed)


def test_findings_make_a_tenants_health_attention_and_remarks_do_not(billing: Caller) -> None:
    acme = billing.post("tenants", ACME).json()["tenant"]["id"]
    driven()
    bucket = Resource.objects.filter(kind="bucket")
    finding = {"code": "bucket.open", "severity": "info", "subject": "t-1", "message": "A remark.", "hint": ""}
    bucket.update(findings=[finding])
    assert billing.get(f"tenants/{acme}").json()["health"] == "ok"
    bucket.update(findings=[{**finding, "severity": "error"}])
    assert billing.get(f"tenants/{acme}").json()["health"] == "attention"
    bucket.update(findings=[], verified_at=None)
    assert billing.get(f"tenants/{acme}").json()["health"] == "unknown"


def test_a_key_that_only_reads_changes_nothing(billing: Caller) -> None:
    reader = caller("shop", [Scope.TENANTS_READ])
    acme = billing.post("tenants", ACME).json()["tenant"]["id"]
    assert reader.get(f"tenants/{acme}").status_code == 200
    assert reader.patch(f"tenants/{acme}", {"name": "mine"}, If_Match="*").status_code == 403
    assert Tenant.objects.get().name == ACME["name"]
