"""Following an operation, and steering it: pause, resume, retry, skip, undo, cancel."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from provisioning import lifecycle
from provisioning.models import Claim, Queue, Resource, ResourceKind, Run, RunLimit, RunStep
from provisioning.providers import CacheNamespace
from provisioning.workflows.resources import PROVIDERS
from tenants.context import TenantContext
from tests.controlplane.api.conftest import ACME, GLOBEX, Caller
from tests.fleet import accepted

pytestmark = pytest.mark.long


@dataclass
class Mistaken(CacheNamespace):
    """A provider with a defect of its own, as a programming error would be."""

    def provision(self, tenant: TenantContext, handle: Mapping[str, Any], *, claim: Claim) -> None:
        raise ZeroDivisionError


@pytest.fixture
def acme(billing: Caller) -> str:
    """The address of an operation that nobody has begun."""
    location: str = billing.post("tenants", ACME)["Location"]
    return location


@pytest.fixture
def parked(billing: Caller, acme: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an operation that stopped at a step with a defect, which is mended by now."""
    with monkeypatch.context() as defect:
        defect.setitem(PROVIDERS, ResourceKind.CACHE, Mistaken())
        driven()
    assert billing.get(acme).json()["state"] == "parked"
    return acme


def driven() -> None:
    lifecycle.advance(queue=Queue.OPERATIONS)


def test_an_operation_is_followed_with_etag_and_a_time_to_ask_again(billing: Caller, acme: str) -> None:
    first = billing.get(acme)
    assert (first.status_code, first["Retry-After"]) == (200, "1")
    same = billing.get(acme, If_None_Match=first["ETag"])
    assert (same.status_code, same.content, same["ETag"]) == (304, b"", first["ETag"])
    assert billing.get(acme, If_None_Match=f'W/{first["ETag"]}, "x"').status_code == 304
    driven()
    done = billing.get(acme, If_None_Match=first["ETag"])
    assert (done.status_code, done.json()["done"]) == (200, True)
    assert "Retry-After" not in done
    assert billing.get(acme, If_None_Match=done["ETag"]).status_code == 304


def test_an_operation_says_how_far_it_got_and_who_asked(billing: Caller, acme: str) -> None:
    queued = billing.get(acme).json()
    assert (queued["type"], queued["state"], queued["actions"]) == ("tenant.onboard", "queued", ["cancel"])
    assert queued["progress"]["completed"] == 0
    assert queued["progress"]["total"] == len(queued["steps"])
    assert queued["requested_by"] == {"kind": "api_key", "id": billing.key.key.public_id, "name": "for a test"}
    assert queued["blocked_by"] is None
    assert billing.get(queued["target"]).json()["slug"] == "acme"
    driven()
    done = billing.get(acme).json()
    assert (done["progress"]["completed"], done["progress"]["phase"]) == (done["progress"]["total"], "")
    assert (done["error"], done["actions"], done["next_attempt_at"], done["deadline_at"]) == (None, [], None, None)
    assert [step["state"] for step in done["steps"]] == ["succeeded"] * len(done["steps"])


def test_a_parked_operation_says_the_cause_and_what_may_be_done(billing: Caller, parked: str) -> None:
    operation = billing.get(parked)
    body = operation.json()
    assert body["error"]["code"] == "UNFORESEEN"
    assert "ZeroDivisionError" in body["error"]["detail"]
    assert body["error"]["step"] == "open cache namespace"
    assert body["error"]["hint"]
    assert body["result"] is None
    assert body["actions"] == ["retry", "undo"]
    assert operation["Retry-After"] == "60"
    assert billing.get(body["target"]).json()["health"] == "attention"


def test_a_parked_operation_is_retried_and_succeeds(billing: Caller, parked: str) -> None:
    answer = billing.post(f"{parked}/retry", {"reason": "the defect is mended"})
    assert (answer.status_code, answer.json()["state"]) == (200, "running")
    driven()
    assert billing.get(parked).json()["state"] == "succeeded"


def test_a_parked_operation_is_undone_and_fails(billing: Caller, parked: str) -> None:
    assert billing.post(f"{parked}/undo", {"reason": "the customer left"}).status_code == 200
    driven()
    undone = billing.get(parked).json()
    assert (undone["state"], undone["direction"], undone["result"]) == ("failed", "undo", None)
    assert undone["error"]["detail"]
    assert {step["direction"] for step in undone["steps"]} == {"do", "undo"}
    assert undone["progress"]["completed"] == undone["progress"]["total"]
    assert not Resource.objects.filter(state="ready").exists()


def test_a_step_that_is_not_skippable_is_not_skipped(billing: Caller, parked: str) -> None:
    answer = billing.post(f"{parked}/skip", {"reason": "who needs it"})
    assert (answer.status_code, answer.json()["code"]) == (409, "STATE_CONFLICT")
    assert answer.json()["metadata"]["actions"] == ["retry", "undo"]


def test_a_queued_operation_is_cancelled_at_once(billing: Caller, acme: str) -> None:
    answer = billing.post(f"{acme}/cancel", {"reason": "ordered by mistake"})
    cancelled = answer.json()
    assert (answer.status_code, cancelled["state"], cancelled["done"]) == (200, "cancelled", True)
    assert cancelled["result"] is None
    assert cancelled["error"]["code"]
    assert cancelled["actions"] == []


def test_an_operation_past_its_end_is_not_steered(billing: Caller, acme: str) -> None:
    driven()
    for verb, body in (("pause", {}), ("resume", {}), ("cancel", {"reason": "late"}), ("retry", {"reason": "again"})):
        answer = billing.post(f"{acme}/{verb}", body)
        assert (answer.status_code, answer.json()["code"]) == (409, "STATE_CONFLICT"), verb


def test_an_operation_that_waits_is_paused_and_resumed(billing: Caller, acme: str) -> None:
    run = Run.objects.get()
    Run.objects.filter(pk=run.pk).update(state="running", started_at=timezone.now(), fence=1_000_000)
    paused = billing.post(f"{acme}/pause", key=None)
    assert (paused.status_code, paused.json()["state"]) == (200, "paused")
    driven()
    assert billing.get(acme).json()["state"] == "paused"
    assert billing.get(acme)["Retry-After"] == "60"
    assert billing.post(f"{acme}/resume", key=None).json()["state"] == "running"
    driven()
    assert billing.get(acme).json()["state"] == "succeeded"


def test_acts_that_cannot_be_taken_back_need_a_reason_and_the_others_take_none(billing: Caller, acme: str) -> None:
    for verb in ("retry", "skip", "undo", "cancel"):
        for body in ({}, {"reason": ""}, {"reason": "  "}, {"reason": None}, {"reason": 5}):
            answer = billing.post(f"{acme}/{verb}", body)
            assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "reason"), body
    for verb in ("pause", "resume"):
        answer = billing.post(f"{acme}/{verb}", {"reason": "none needed"})
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "UNKNOWN")


def test_an_operation_past_its_deadline_is_stalled(billing: Caller, acme: str) -> None:
    assert billing.get(acme).json()["stalled"] is False
    Run.objects.update(deadline_at=timezone.now() - timedelta(seconds=1))
    assert billing.get(acme).json()["stalled"] is True


def test_an_operation_much_slower_than_usual_is_stalled(billing: Caller, acme: str) -> None:
    """Usual is what the same step took in operations that succeeded; a slow one is told from a short hiccup."""
    driven()
    slow = billing.post("tenants", GLOBEX)["Location"]
    run = Run.objects.get(tenant__slug="globex")
    began = timezone.now() - timedelta(seconds=29)
    Run.objects.filter(pk=run.pk).update(state="running", created_at=began, started_at=began, fence=1_000_000)
    RunStep.objects.filter(run=run, name=run.step).update(state="started", started_at=began)
    assert billing.get(slow).json()["stalled"] is False
    assert billing.get("operations?stalled=true").json()["results"] == []
    began -= timedelta(seconds=5)
    Run.objects.filter(pk=run.pk).update(created_at=began)
    RunStep.objects.filter(run=run, name=run.step).update(started_at=began)
    assert billing.get(slow).json()["stalled"] is True
    assert [one["id"] for one in billing.get("operations?stalled=true").json()["results"]] == [run.public_id]


def test_a_queued_operation_says_what_it_waits_for(billing: Caller, acme: str) -> None:
    """A cluster that does one thing at a time, and is at it."""
    billing.post("tenants", GLOBEX)
    busy, waits = Run.objects.get(tenant__slug="globex"), Run.objects.get(tenant__slug="acme")
    RunLimit.objects.update_or_create(key=waits.limit_key, defaults={"max_running": 1})
    Run.objects.filter(pk=busy.pk).update(
        state="running", owner="a worker", fence=1_000_000, lease_until=timezone.now() + timedelta(seconds=30)
    )
    assert billing.get(acme).json()["blocked_by"] == {"kind": "limit", "id": "cluster:local-1"}


def test_a_verb_is_planned_before_it_acts_and_bound_to_its_plan(billing: Caller, parked: str) -> None:
    plan = billing.post(f"{parked}/undo?validate_only=true", {"reason": "the customer left"}, key=None).json()
    assert (plan["object"], plan["verb"], plan["blockers"]) == ("plan", "operation.undo", [])
    assert "undo 'create bucket'" in plan["steps"]
    assert billing.get(parked).json()["state"] == "parked"
    skip = billing.post(f"{parked}/skip?validate_only=true", {"reason": "x"}, key=None).json()
    assert [blocker["code"] for blocker in skip["blockers"]] == ["STATE_CONFLICT"]
    wrong = billing.post(f"{parked}/undo", {"reason": "the customer left", "plan_digest": skip["digest"]})
    assert (wrong.status_code, wrong.json()["code"]) == (409, "PLAN_CHANGED")
    assert billing.get(parked).json()["state"] == "parked"
    right = billing.post(f"{parked}/undo", {"reason": "the customer left", "plan_digest": plan["digest"]})
    assert (right.status_code, right.json()["state"]) == (200, "running")


def test_forcing_an_end_is_no_business_of_the_api(billing: Caller, parked: str) -> None:
    assert "force_complete" not in billing.get(parked).json()["actions"]
    assert billing.post(f"{parked}/force-complete", {"reason": "x"}).status_code == 404


def test_operations_are_filtered_by_state_type_tenant_and_time(billing: Caller) -> None:
    acme, globex = accepted("acme"), accepted("globex")

    def ids(query: str) -> set[str]:
        return {one["id"] for one in billing.get(f"operations?{query}").json()["results"]}

    both = {acme.public_id, globex.public_id}
    assert acme.tenant is not None
    billing.post(f"operations/{acme.public_id}/cancel", {"reason": "by mistake"})
    assert ids("") == both
    assert ids("state=queued") == {globex.public_id}
    assert ids("state=queued&state=cancelled") == both
    assert ids(f"tenant={acme.tenant.public_id}") == {acme.public_id}
    assert ids("type=tenant.onboard") == both
    assert ids("type=tenant.rotate_credentials") == set()
    assert ids(f"since={quote((timezone.now() + timedelta(hours=1)).isoformat())}") == set()
    assert ids(f"since={quote((timezone.now() - timedelta(hours=1)).isoformat())}") == both
    Run.objects.filter(pk=globex.pk).update(deadline_at=timezone.now())
    assert ids("stalled=true") == {globex.public_id}
    assert ids("stalled=false") == {acme.public_id}
    assert billing.get("operations?tenant=acme").json()["code"] == "MALFORMED_REQUEST"
    assert billing.get("operations?type=tenant.move").json()["code"] == "MALFORMED_REQUEST"


def test_a_list_of_operations_costs_as_many_queries_for_many_as_for_one(billing: Caller) -> None:
    for number in range(8):
        accepted(f"tenant-{number}")
    counts = []
    for size in (1, 8):
        billing.get("tiers")  # writes the last use of the key
        with CaptureQueriesContext(connection) as asked:
            assert len(billing.get(f"operations?page_size={size}").json()["results"]) == size
        counts.append(len(asked))
    assert counts[0] == counts[1], counts
