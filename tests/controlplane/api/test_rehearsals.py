"""A rehearsal over the API: asked for and followed as an operation, read, and overridden with a reason."""

from typing import Any

import pytest

from controlplane.models import Scope
from provisioning import lifecycle
from provisioning.models import Queue, Rehearsal
from provisioning.rollout import seams
from tests.controlplane.api.conftest import Caller, caller
from tests.fleet import onboarded
from tests.provisioning.rollout.building import PLACEHOLDER, next_release

pytestmark = pytest.mark.long

SIZE = f"ALTER TABLE {PLACEHOLDER}.projects_project ADD COLUMN size integer NOT NULL DEFAULT 0"
ASKED = {"copies": 1, "limits": {"lock": "SHARE", "held_s": 0.25, "table_bytes": 1}}


def refused(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_a_rehearsal_is_asked_for_followed_read_and_overridden(house: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seams, "path_between", seams.recorded_path)
    onboarded("acme")
    next_release(statements=(SIZE,))  # which nobody published: no copy ends as it, and that is objected to
    proposer: Caller = caller("alice", [Scope.ROLLOUTS_READ, Scope.ROLLOUTS_WRITE, Scope.TENANTS_READ])
    approver = caller("bob", [Scope.ROLLOUTS_READ, Scope.ROLLOUTS_APPROVE])
    draft = proposer.post("rollouts", {"release": "next", "filter": {"slugs": ["acme"]}}).json()
    path = f"rollouts/{draft['id']}"
    assert refused(approver.post(f"{path}/rehearse", ASKED)) == (403, "SCOPE_MISSING")
    wrong = proposer.post(f"{path}/rehearse", {"copies": 99}).json()
    assert [(error["field"], wrong["status"]) for error in wrong["errors"]] == [("copies", 422)]
    plan = proposer.post(f"{path}/rehearse?validate_only=true", ASKED, key=None)
    assert (plan.status_code, plan.json()["verb"]) == (200, "rollout.rehearse")
    accepted = proposer.post(f"{path}/rehearse", ASKED, key="a-key-of-16-characters")
    operation = accepted.json()["operation"]
    assert (accepted.status_code, operation["type"], operation["state"]) == (202, "rollout_rehearsal", "queued")
    again = proposer.post(f"{path}/rehearse", ASKED, key="a-key-of-16-characters")
    assert again.content == accepted.content
    assert refused(proposer.post(f"{path}/rehearse", ASKED)) == (409, "OPERATION_IN_PROGRESS")
    assert proposer.get(f"{path}/rehearsals").json()["results"] == []
    lifecycle.advance(queue=Queue.FLEET)
    assert proposer.get(accepted["Location"]).json()["state"] == "succeeded"
    (found,) = proposer.get(f"{path}/rehearsals").json()["results"]
    assert (found["state"], found["operation"], found["limits"]) == ("finished", operation["id"], ASKED["limits"])
    assert found["started_by"]["kind"] == "api_key"
    (copy,) = found["copies"]
    assert (copy["target"], copy["tier"], copy["duration_s"] > 0) == ("acme", "schema", True)
    assert "COPY_FAILED" in {finding["code"] for finding in found["findings"]}  # how long locks were held is chance
    # What it found stands in the way of an approval, until somebody says why it does not matter.
    digest = proposer.get(path).json()["plan"]["digest"]
    objection = approver.post(f"{path}/approve", {"plan_digest": digest})
    assert refused(objection) == (409, "REHEARSAL_OBJECTS")
    assert "COPY_FAILED" in {finding["code"] for finding in objection.json()["metadata"]["findings"]}
    reason = "Nobody works at night."
    approved = approver.post(f"{path}/approve", {"plan_digest": digest, "override": reason})
    assert (approved.status_code, approved.json()["state"]) == (200, "running")
    (found,) = proposer.get(f"{path}/rehearsals").json()["results"]
    assert found["override"]["reason"] == reason
    assert refused(proposer.post(f"{path}/rehearse", ASKED)) == (409, "STATE_CONFLICT")
    # The latest is the first, and each has its page.
    Rehearsal.objects.create(rollout_id=draft["id"][4:], plan_digest="x", limits=some_limits(), clusters=[])
    latest = proposer.get(f"{path}/rehearsals", "?page_size=1").json()
    assert (latest["results"][0]["state"], latest["next"] is None) == ("running", False)


def some_limits() -> dict[str, Any]:
    return {"lock": "SHARE", "ms": 1, "bytes": 1}
