"""Drift over the API: found page by page, accepted with a reason, and repaired by the plan that was read."""

from typing import Any

import pytest

from controlplane.models import Scope
from controlplane.stack.embedded import Stack
from provisioning import lifecycle
from provisioning.models import Queue, Run
from tests.controlplane.api.conftest import Caller, caller
from tests.fleet import onboarded
from tests.provisioning.rollout.building import changed_by_hand

pytestmark = pytest.mark.long

SPARE = "ALTER TABLE {0}.projects_project ADD spare int"
PRECIOUS = "ALTER TABLE {0}.projects_project ADD precious text"
LINE = "unexpected column projects_project.spare integer"
REASON = {"reason": "Their own report reads it."}
ALL = ["acme", "globex", "local-1/pool_1"]


@pytest.fixture
def fleet(house: None, stack: Stack) -> Caller:
    """acme has a column that nobody released, globex has not, and there is a pool. Asks with every scope."""
    for slug in ("acme", "globex"):
        onboarded(slug)
    changed_by_hand(stack, "acme", SPARE)
    return caller()


def names(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [each["name"] for each in answer.json()["results"]]


def refused(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def one(asks: Caller, name: str) -> dict[str, Any]:
    (found,) = [each for each in asks.get("drift").json()["results"] if each["name"] == name]
    return dict(found)


def test_each_page_looks_at_its_own_targets(fleet: Caller) -> None:
    whole = fleet.get("drift")
    assert names(whole) == ALL
    assert [(each["state"], each["lines"]) for each in whole.json()["results"]] == [
        ("drifted", [LINE]),
        ("as_released", []),
        ("as_released", []),
    ]
    assert (whole.json()["next"], whole.json()["previous"]) == (None, None)
    seen, page = [], fleet.get("drift", "?page_size=1")
    for _turn in ALL:
        seen += names(page)
        last, page = page, fleet.client.get(page.json()["next"] or page.json()["previous"], headers=fleet.auth)
    assert (seen, last.json()["next"], names(page)) == (ALL, None, ["globex"])
    # A state is known only once a target was looked at: what is left of a page may be nothing, and there are more.
    second = fleet.get("drift", "?page_size=1&state=as_released").json()
    assert (second["results"], second["next"] is None) == ([], False)
    for query, left in (
        ("?state=drifted", ["acme"]),
        ("?tier=pool", ["local-1/pool_1"]),
        ("?slug=globex&slug=nobody", ["globex"]),
        ("?cluster=elsewhere", []),
        ("?slug=acme&tier=pool", []),
    ):
        assert names(fleet.get("drift", query)) == left, query
    for cursor in ("nonsense", "a616", "c6163"):
        assert refused(fleet.get("drift", f"?cursor={cursor}")) == (400, "INVALID_CURSOR")
    assert refused(fleet.get("drift/ten_" + "0" * 32)) == (404, "NOT_FOUND")


def test_what_was_read_is_accepted_and_nothing_else(fleet: Caller, stack: Stack) -> None:
    acme, globex = one(fleet, "acme"), one(fleet, "globex")
    adopt = f"drift/{acme['id']}/adopt"
    plan = fleet.post(f"{adopt}?validate_only=true", REASON, key=None).json()
    assert (plan["verb"], plan["steps"]) == ("drift.adopt", [f"accept in every release to come: {LINE}"])
    changed_by_hand(stack, "acme", PRECIOUS)
    assert refused(fleet.post(adopt, {**REASON, "plan_digest": plan["digest"]})) == (409, "PLAN_CHANGED")
    assert one(fleet, "acme")["adopted"] is None
    assert refused(caller("eve", [Scope.ROLLOUTS_READ]).post(adopt, REASON)) == (403, "SCOPE_MISSING")
    adopted = fleet.post(adopt, REASON, key="a-key-of-16-characters")
    body = adopted.json()
    assert (adopted.status_code, body["state"], len(body["lines"])) == (200, "adopted", 2)
    assert (body["adopted"]["reason"], body["adopted"]["actor"]["kind"]) == (REASON["reason"], "api_key")
    assert fleet.get(f"drift/{acme['id']}").json() == body
    changed_by_hand(stack, "acme", "ALTER TABLE {0}.projects_project DROP precious, DROP spare")
    again = fleet.post(adopt, REASON, key="a-key-of-16-characters")
    assert (again.content, again["Idempotent-Replayed"]) == (adopted.content, "true")
    assert refused(fleet.post(f"drift/{globex['id']}/adopt", REASON)) == (409, "NO_DRIFT")


def test_a_repair_is_the_plan_that_was_read_and_an_operation(fleet: Caller, stack: Stack) -> None:
    acme = one(fleet, "acme")
    repair = f"drift/{acme['id']}/repair"
    plan = fleet.post(f"{repair}?validate_only=true", key=None).json()
    assert (len(plan["steps"]), "DROP COLUMN" in plan["steps"][0], len(plan["removes"])) == (1, True, 1)
    confirmed = {"plan_digest": plan["digest"]}
    proposer = caller("alice", [Scope.ROLLOUTS_READ, Scope.ROLLOUTS_WRITE])
    assert refused(proposer.post(repair, confirmed)) == (403, "SCOPE_MISSING")
    assert refused(fleet.post(repair)) == (422, "VALIDATION_FAILED")
    assert refused(fleet.post(repair, {"plan_digest": "sha256:another"})) == (409, "PLAN_CHANGED")
    assert not Run.objects.filter(workflow="drift repair").exists()
    accepted = fleet.post(repair, confirmed)
    operation = accepted.json()["operation"]
    assert (accepted.status_code, accepted["Location"]) == (202, f"/api/v1/operations/{operation['id']}")
    assert (operation["type"], operation["target"]) == ("drift_repair", f"/api/v1/tenants/{acme['id']}")
    assert one(fleet, "acme")["state"] == "drifted"  # nobody waited for it
    assert refused(fleet.post(repair, confirmed)) == (409, "OPERATION_IN_PROGRESS")
    lifecycle.advance(queue=Queue.FLEET)
    assert fleet.get(accepted["Location"]).json()["state"] == "succeeded"
    assert one(fleet, "acme")["state"] == "as_released"
    changed_by_hand(stack, "acme", "ALTER TABLE {0}.projects_project DROP description")
    plan = fleet.post(f"{repair}?validate_only=true", key=None).json()
    assert [blocker["code"] for blocker in plan["blockers"]] == ["DRIFT_NOT_REPAIRABLE"]
    assert refused(fleet.post(repair, {"plan_digest": plan["digest"]})) == (422, "DRIFT_NOT_REPAIRABLE")
