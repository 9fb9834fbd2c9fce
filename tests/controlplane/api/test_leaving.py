"""Suspending, deleting, dates and legal holds over the API."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from controlplane.models import Scope
from provisioning import lifecycle
from provisioning.models import Queue, Run, Schedule
from tenants.models import Tenant
from tenants.states import Tier
from tests.controlplane.api.conftest import Caller, address, caller
from tests.fleet import onboarded

pytestmark = pytest.mark.long


@pytest.fixture
def acme(billing: Caller) -> str:
    """The path of an active tenant in a pool."""
    return f"tenants/{onboarded('acme', Tier.POOL).public_id}"


def delete(by: Caller, path: str, query: str, **headers: str) -> Any:
    return by.client.delete(f"{address(path)}?{query}", headers={**by.auth, **headers})


def driven() -> None:
    lifecycle.advance(queue=Queue.OPERATIONS)


def test_a_tenant_is_suspended_resumed_deleted_and_undeleted(billing: Caller, acme: str) -> None:
    plan = billing.post(f"{acme}/suspend?validate_only=true", {"reason": "unpaid"}, key=None).json()
    assert (plan["verb"], plan["blockers"], plan["pivot"]) == ("tenant.suspend", [], "suspended")
    accepted = billing.post(f"{acme}/suspend", {"reason": "unpaid", "plan_digest": plan["digest"]})
    assert (accepted.status_code, accepted.json()["operation"]["type"]) == (202, "tenant.suspend")
    assert [step["name"] for step in accepted.json()["operation"]["steps"]] == plan["steps"]
    driven()
    suspended = billing.get(acme).json()
    assert (suspended["state"], suspended["actions"]) == ("suspended", ["resume", "delete", "export"])
    assert billing.post(f"{acme}/suspend", {"reason": "again"}).json()["code"] == "STATE_CONFLICT"
    assert billing.post(f"{acme}/credentials", key=None).json()["code"] == "STATE_CONFLICT"
    assert billing.post(f"{acme}/resume", {"reason": "paid"}).status_code == 202
    driven()
    billing.patch(acme, {"deletion_protection": True}, If_Match="*")
    refused = delete(billing, acme, "reason=over")
    assert (refused.status_code, refused.json()["code"]) == (409, "DELETION_PROTECTED")
    billing.patch(acme, {"deletion_protection": False}, If_Match="*")
    assert delete(billing, acme, "").json()["errors"][0]["field"] == "reason"
    assert delete(billing, acme, "reason=over&keep_days=-1").json()["errors"][0]["field"] == "keep_days"
    plan = delete(billing, acme, "validate_only=true&keep_days=30").json()
    assert "30 days after it is shut" in plan["removes"][1]
    key = {"Idempotency-Key": str(uuid4())}
    first = delete(billing, acme, f"reason=over&keep_days=30&plan_digest={plan['digest']}", **key)
    driven()
    assert (
        delete(billing, acme, f"reason=over&keep_days=30&plan_digest={plan['digest']}", **key).content == first.content
    )
    assert delete(billing, acme, "reason=other", **key).json()["code"] == "IDEMPOTENCY_KEY_REUSED"
    second = delete(billing, acme, "reason=other")
    assert (second.status_code, second.json()["operation"]["id"]) == (202, first.json()["operation"]["id"])
    deleted = second.json()["tenant"]
    assert (deleted["state"], deleted["delete_reason"], deleted["actions"]) == (
        "deleted",
        "contract_ended",
        ["undelete", "export"],
    )
    assert billing.post(f"{acme}/undelete", {"reason": "stays"}).status_code == 202
    driven()
    back = billing.get(acme).json()
    assert (back["state"], back["purge_at"]) == ("active", None)


def test_a_date_fires_once_and_a_hold_keeps_a_deletion_waiting(billing: Caller, acme: str) -> None:
    at = timezone.now() + timedelta(days=14)
    wish = {"verb": "suspend", "at": at.isoformat(), "reason": "Invoice 4711"}
    made = billing.post(f"{acme}/schedules", wish)
    assert (made.status_code, billing.get(made["Location"]).json()) == (201, made.json())
    assert billing.post(f"{acme}/schedules", wish).json()["code"] == "STATE_CONFLICT"
    over = billing.post(f"{acme}/schedules", {**wish, "at": "2020-01-01T00:00:00Z"})
    assert (over.status_code, over.json()["errors"][0]["field"]) == (422, "at")
    deletion = billing.post(f"{acme}/schedules", {**wish, "verb": "delete", "keep_days": 3}).json()
    hold = billing.post(f"{acme}/holds", {"ground": "Tax audit", "review_on": at.date().isoformat()})
    tenant = billing.get(acme).json()
    assert (tenant["holds"], tenant["scheduled_suspension_at"] is None) == (1, False)
    Schedule.objects.update(at=timezone.now() - timedelta(seconds=1))
    for _pass in range(3):
        lifecycle.sweep()
        driven()
    states = {row["verb"]: row["state"] for row in billing.get(f"{acme}/schedules").json()["results"]}
    assert (states, Tenant.objects.get().state) == ({"suspend": "fired", "delete": "waiting"}, "suspended")
    released = billing.post(f"{hold['Location']}/release", {"reason": "It is over."})
    assert (released.status_code, released.json()["released_at"] is None) == (200, False)
    for _pass in range(3):
        lifecycle.sweep()
        driven()
    done = billing.get(f"{acme}/schedules/{deletion['id']}").json()
    assert (done["state"], done["operation"]) == ("fired", Run.objects.get(workflow="delete").public_id)
    assert Run.objects.filter(actor="system:sweeper").count() == 2
    assert (Tenant.objects.get().state, Tenant.objects.get().delete_reason) == ("deleted", "unpaid")


def test_a_date_is_cancelled_or_comes_to_nothing_and_says_why(billing: Caller, acme: str) -> None:
    at = (timezone.now() + timedelta(days=14)).isoformat()
    first = billing.post(f"{acme}/schedules", {"verb": "suspend", "at": at, "reason": "Invoice 4711"}).json()
    cancelled = billing.post(f"{acme}/schedules/{first['id']}/cancel", {"reason": "It was paid."}).json()
    assert (cancelled["state"], cancelled["note"]) == ("cancelled", "It was paid.")
    assert billing.post(f"{acme}/schedules/{first['id']}/cancel", {"reason": "twice"}).status_code == 409
    billing.post(f"{acme}/schedules", {"verb": "delete", "at": at, "reason": "Invoice 4711"})
    Tenant.objects.update(deletion_protection=True)
    Schedule.objects.filter(state="waiting").update(at=timezone.now())
    lifecycle.sweep()
    (refused, _) = billing.get(f"{acme}/schedules").json()["results"]
    assert (refused["state"], "protected" in refused["note"]) == ("refused", True)
    assert not Run.objects.exclude(workflow="onboard").exists()


def test_a_deleted_tenant_is_exported_into_its_bucket(billing: Caller, acme: str) -> None:
    delete(billing, acme, "reason=over")
    driven()
    plan = billing.post(f"{acme}/export?validate_only=true", {"reason": "they asked"}, key=None).json()
    assert (plan["verb"], plan["blockers"], plan["pivot"]) == ("tenant.export", [], "tell")
    accepted = billing.post(f"{acme}/export", {"reason": "they asked", "plan_digest": plan["digest"]})
    assert (accepted.status_code, accepted.json()["operation"]["type"]) == (202, "tenant.export")
    driven()
    assert billing.get(f"operations/{accepted.json()['operation']['id']}").json()["state"] == "succeeded"
    reader = caller(scopes=[Scope.TENANTS_READ])
    assert reader.post(f"{acme}/export", {"reason": "no"}).json()["code"] == "SCOPE_MISSING"


def test_each_of_them_needs_its_own_scope(acme: str) -> None:
    writer = caller(scopes=[Scope.TENANTS_READ, Scope.TENANTS_WRITE])
    at = (timezone.now() + timedelta(days=1)).isoformat()
    for answer in (
        delete(writer, acme, "reason=over"),
        writer.post(f"{acme}/undelete", {"reason": "no"}),
        writer.post(f"{acme}/schedules", {"verb": "delete", "at": at, "reason": "no"}),
        writer.post(f"{acme}/holds", {"ground": "none", "review_on": "2099-01-01"}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "SCOPE_MISSING")
