"""What is done to a tenant: retried, its credentials handed out and rotated, its resources seen."""

from typing import Any

import psycopg
import pytest
from django.db import connection

from controlplane.keys import actor_of
from provisioning import lifecycle
from provisioning.models import IdempotencyKey, Queue, Release, Resource, Run
from tenants.placement import public_id
from tests.controlplane.api.conftest import ACME, Caller, caller
from tests.pair import Pair

pytestmark = pytest.mark.long


@pytest.fixture
def site(changing_pair: Pair) -> Caller:
    """A key that may everything, beside an active acme and globex."""
    return caller()


@pytest.fixture
def acme(changing_pair: Pair) -> str:
    """The path of an active tenant."""
    return f"tenants/{public_id('ten', changing_pair.acme.tenant_id)}"


def driven() -> None:
    lifecycle.advance(queue=Queue.OPERATIONS)


def failed_acme(billing: Caller) -> str:
    """A tenant whose onboarding was undone: its release was withdrawn in between."""
    tenant: str = billing.post("tenants", ACME).json()["tenant"]["id"]
    Release.objects.update(current=False)
    driven()
    Release.objects.update(current=True)
    assert billing.get(f"tenants/{tenant}").json()["state"] == "failed"
    return tenant


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
    assert (tenant["operation"], tenant["actions"]) == (None, ["retry", "delete"])
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


def test_a_second_operation_on_a_busy_tenant_is_refused_with_the_first_ones_id(site: Caller, acme: str) -> None:
    first = site.post(f"{acme}/rotate-credentials", {"reason": "a leak"}).json()["operation"]
    assert first["type"] == "tenant.rotate_credentials"
    second = site.post(f"{acme}/rotate-credentials", {"reason": "a leak"})
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


def test_credentials_are_handed_out_fresh_and_kept_nowhere(
    site: Caller, acme: str, caplog: pytest.LogCaptureFixture
) -> None:
    key = "the-same-key-for-both"
    first, second = (site.post(f"{acme}/credentials", key=key) for _ in range(2))
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


def test_a_hand_out_leaves_an_audit_entry_that_names_the_key(site: Caller, acme: str) -> None:
    site.post(f"{acme}/credentials")
    with connection.cursor() as cursor:
        cursor.execute("SELECT body FROM audit_entry WHERE body LIKE '%credentials.handed_out%'")
        (body,) = cursor.fetchone()
    assert str(actor_of(site.key.key)) in body


def test_resources_are_listed_without_secrets(site: Caller, acme: str) -> None:
    listed: list[dict[str, Any]] = site.get(f"{acme}/resources").json()["results"]
    assert {one["kind"] for one in listed} == set(Resource.objects.values_list("kind", flat=True))
    assert {one["state"] for one in listed} == {"ready"}
    assert all(one["verified_at"] for one in listed)


def test_findings_make_a_tenants_health_attention_and_remarks_do_not(site: Caller, acme: str) -> None:
    bucket = Resource.objects.filter(kind="bucket")
    finding = {"code": "bucket.open", "severity": "info", "subject": "t-1", "message": "A remark.", "hint": ""}
    bucket.update(findings=[finding])
    assert site.get(acme).json()["health"] == "ok"
    bucket.update(findings=[{**finding, "severity": "error"}])
    assert site.get(acme).json()["health"] == "attention"
    bucket.update(findings=[], verified_at=None)
    assert site.get(acme).json()["health"] == "unknown"
