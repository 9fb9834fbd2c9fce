"""Rollouts over the API: proposed by one, approved by another, followed and steered."""

from typing import Any

import pytest
from django.test import override_settings

from controlplane.models import Scope
from provisioning import lifecycle
from provisioning.models import Queue, Release, Rollout
from tenants.models import AuditEntry, Tenant
from tests.controlplane.api.conftest import Caller, caller
from tests.fleet import BILLING
from tests.provisioning.rollout.building import PlainReplayer, driven, inside, made, time_passes

pytestmark = pytest.mark.long

READ_WRITE = [Scope.ROLLOUTS_READ, Scope.ROLLOUTS_WRITE]
TERMS: dict[str, Any] = {
    "canary": ["t2-acme"],
    "waves": [{"count": 3}, {"percent": 100}],
    "max_failures": {"count": 1},
    "parallelism": 1,
    "lock_timeout_s": 0.5,
}


@pytest.fixture
def proposer(release: Release) -> Caller:
    return caller("alice", READ_WRITE)


@pytest.fixture
def approver(release: Release) -> Caller:
    return caller("bob", [Scope.ROLLOUTS_READ, Scope.ROLLOUTS_APPROVE])


def draft(proposer: Caller, **terms: Any) -> dict[str, Any]:
    answer = proposer.post("rollouts", {"release": "next", **terms})
    assert answer.status_code == 201, answer.content
    return dict(answer.json())


def approve(approver: Caller, rollout: dict[str, Any], **headers: str) -> Any:
    body = {"plan_digest": rollout["plan"]["digest"]}
    return approver.post(f"rollouts/{rollout['id']}/approve", body, **headers)


def running(proposer: Caller, approver: Caller, **terms: Any) -> dict[str, Any]:
    answer = approve(approver, draft(proposer, **terms))
    assert answer.status_code == 200, answer.content
    return dict(answer.json())


def refused(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def poison(tenant: Tenant) -> None:
    with inside(tenant) as connection:
        connection.execute("INSERT INTO project VALUES (2, '')")


def row(rollout: dict[str, Any]) -> Rollout:
    return Rollout.objects.get(pk=rollout["id"].removeprefix("rol_"))


def test_a_rollout_is_proposed_approved_by_another_and_followed_to_its_end(
    proposer: Caller, approver: Caller, replayer: PlainReplayer
) -> None:
    made(6)
    answer = proposer.post("rollouts", {"release": "next", **TERMS})
    proposed = answer.json()
    assert (answer.status_code, answer["Location"]) == (201, f"/api/v1/rollouts/{proposed['id']}")
    assert (proposed["state"], proposed["actions"], proposed["counts"]["targets"]) == (
        "draft",
        ["approve", "rehearse", "cancel"],
        0,
    )
    assert proposed["proposed_by"] == {"kind": "principal", "id": "alice", "name": "alice"}
    assert {name: proposed[name] for name in TERMS} == TERMS
    plan = proposed["plan"]
    assert [(wave["wave"], wave["targets"]) for wave in plan["waves"]] == [
        (0, {"schema": 1}),
        (1, {"schema": 3}),
        (2, {"schema": 2}),
    ]
    (migration,) = plan["paths"][0]["migrations"]
    assert (migration["migration"], len(migration["statements"])) == ("projects.0005_size", 2)
    assert replayer.calls == []
    approved = approve(approver, proposed).json()
    assert (approved["state"], approved["approved_by"]["id"], approved["counts"]["waiting"]) == ("running", "bob", 6)
    driven(row(proposed))
    ended = proposer.get(f"rollouts/{proposed['id']}").json()
    assert (ended["state"], ended["actions"], ended["operation"][:3]) == ("succeeded", [], "op_")
    assert [(wave["wave"], wave["succeeded"]) for wave in ended["progress"]] == [(0, 1), (1, 3), (2, 2)]


def test_validate_only_shows_the_plan_and_leaves_no_draft(proposer: Caller) -> None:
    made(3)
    answer = proposer.post("rollouts?validate_only=true", {"release": "next", **TERMS}, key=None)
    plan = answer.json()
    assert (answer.status_code, plan["object"], plan["targets"]) == (200, "rollout_plan", 3)
    assert Rollout.objects.count() == 0
    assert draft(proposer, **TERMS)["plan"]["digest"] == plan["digest"]


def test_a_proposal_repeated_with_its_key_is_one_rollout_even_when_it_could_not_be_made_any_more(
    proposer: Caller,
) -> None:
    made(3)
    body = {"release": "next", "canary": ["t1-acme"]}
    first = proposer.post("rollouts", body, key="a-key-of-16-characters")
    Tenant.objects.filter(slug="t1-acme").update(slug="renamed-acme")
    again = proposer.post("rollouts", body, key="a-key-of-16-characters")
    assert (again.status_code, again.content, again["Idempotent-Replayed"]) == (201, first.content, "true")
    assert refused(proposer.post("rollouts", body)) == (422, "VALIDATION_FAILED")
    other = proposer.post("rollouts", {"release": "next"}, key="a-key-of-16-characters")
    assert refused(other) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert refused(proposer.post("rollouts", body, key=None)) == (400, "IDEMPOTENCY_KEY_MISSING")
    assert Rollout.objects.count() == 1


def test_an_approval_repeated_with_its_key_begins_once(proposer: Caller, approver: Caller) -> None:
    made(3)
    proposed = draft(proposer)
    path, body = f"rollouts/{proposed['id']}/approve", {"plan_digest": proposed["plan"]["digest"]}
    first, again = (approver.post(path, body, key="a-key-of-16-characters") for _ in range(2))
    assert (first.status_code, again.content) == (200, first.content)
    assert refused(approver.post(path, body, key=None)) == (400, "IDEMPOTENCY_KEY_MISSING")
    assert AuditEntry.objects.filter(public__action="rollout.approved").count() == 1


def test_who_may_write_may_not_approve_and_the_other_way_round(proposer: Caller, approver: Caller) -> None:
    proposed = draft(proposer)
    answer = approve(proposer, proposed)
    assert (refused(answer), answer.json()["metadata"]) == ((403, "SCOPE_MISSING"), {"scope": "rollouts:approve"})
    assert refused(approver.post("rollouts", {"release": "next"})) == (403, "SCOPE_MISSING")
    for verb in ("pause", "resume", "cancel", "retry-failed"):
        assert refused(approver.post(f"rollouts/{proposed['id']}/{verb}", {"reason": "x"})) == (403, "SCOPE_MISSING")


def test_two_keys_of_one_owner_are_the_same_person(proposer: Caller) -> None:
    proposed = draft(proposer)
    other_key = caller("alice", [Scope.ROLLOUTS_APPROVE])
    assert refused(approve(other_key, proposed)) == (403, "SAME_PERSON")
    with override_settings(TENURE_SINGLE_OPERATOR=True):
        answer = approve(other_key, proposed)
    assert (answer.status_code, answer.json()["single_operator"]) == (200, True)


def test_an_approval_of_another_plan_than_todays_is_refused(proposer: Caller, approver: Caller) -> None:
    made(2)
    proposed = draft(proposer)
    made(1, first=2)
    assert refused(approve(approver, proposed)) == (409, "PLAN_CHANGED")
    path = f"rollouts/{proposed['id']}/approve"
    body = {"plan_digest": proposed["plan"]["digest"]}
    fresh = approver.post(f"{path}?validate_only=true", body, key=None).json()
    assert fresh["targets"] == 3
    assert row(proposed).state == "draft"
    assert approver.post(path, {"plan_digest": fresh["digest"]}).status_code == 200


def test_a_verb_honours_the_etag_when_one_is_given(proposer: Caller, approver: Caller) -> None:
    made(2)
    proposed = draft(proposer)
    seen = proposer.get(f"rollouts/{proposed['id']}")["ETag"]
    assert seen == '"1"'
    assert refused(approve(approver, proposed, If_Match='"7"')) == (412, "ETAG_MISMATCH")
    assert approve(approver, proposed, If_Match=seen)["ETag"] == '"2"'
    assert refused(proposer.post(f"rollouts/{proposed['id']}/pause", If_Match=seen)) == (412, "ETAG_MISMATCH")


def test_over_its_budget_it_pauses_says_why_and_goes_on_when_mended(
    proposer: Caller, approver: Caller, replayer: PlainReplayer
) -> None:
    tenants = made(6)
    poison(tenants[0])
    poison(tenants[1])
    rollout = running(proposer, approver, **{**TERMS, "max_failures": {"count": 0, "classes": {"drift": 2}}})
    driven(row(rollout))
    path = f"rollouts/{rollout['id']}"
    paused = proposer.get(path).json()
    assert (paused["state"], paused["pause_reason"]) == ("paused", "error_budget")
    assert "the budget is 0" in paused["pause_detail"]
    assert (paused["budget"]["failed"], paused["budget"]["count"]) == (1, 0)
    assert {"class": "drift", "failed": 0, "most": 2} in paused["budget"]["classes"]
    (group,) = paused["failures"]
    assert (group["class"], group["migration"], group["targets"]) == ("data error", "projects.0005_size", 1)
    assert paused["actions"] == ["resume", "cancel", "retry_failed", "skip_target"]
    without = proposer.post(f"{path}/resume")
    assert refused(without) == (422, "VALIDATION_FAILED")
    assert without.json()["errors"][0]["field"] == "reason"
    for tenant in tenants[:2]:
        with inside(tenant) as connection:
            connection.execute("DELETE FROM project WHERE name = ''")
    assert proposer.post(f"{path}/retry-failed").json()["state"] == "running"
    driven(row(rollout))
    assert proposer.get(path).json()["counts"]["succeeded"] == 6


def test_verbs_in_the_wrong_state_are_conflicts_and_a_cancel_needs_a_reason(proposer: Caller, approver: Caller) -> None:
    made(2)
    rollout = running(proposer, approver)
    path = f"rollouts/{rollout['id']}"
    assert refused(proposer.post(f"{path}/resume", {"reason": "x"})) == (409, "STATE_CONFLICT")
    assert proposer.post(f"{path}/pause").json()["pause_reason"] == "operator"
    assert refused(proposer.post(f"{path}/pause")) == (409, "STATE_CONFLICT")
    assert proposer.post(f"{path}/resume").json()["state"] == "running"
    assert refused(proposer.post(f"{path}/cancel")) == (422, "VALIDATION_FAILED")
    assert refused(proposer.post(f"{path}/cancel", {"reason": " "})) == (422, "VALIDATION_FAILED")
    plan = proposer.post(f"{path}/cancel?validate_only=true", {"reason": "not today"}).json()
    assert (plan["object"], plan["verb"], row(rollout).state) == ("plan", "rollout.cancel", "running")
    cancelled = proposer.post(f"{path}/cancel", {"reason": "not today"}).json()
    assert (cancelled["state"], cancelled["reason"], cancelled["counts"]["skipped"]) == ("cancelled", "not today", 2)


def test_targets_are_listed_in_the_order_of_their_turns_page_by_page(proposer: Caller, approver: Caller) -> None:
    made(7)
    rollout = running(proposer, approver, **TERMS)
    path = f"rollouts/{rollout['id']}/targets"
    first = proposer.get(path, "?page_size=3").json()
    assert [one["name"] for one in first["results"]] == ["t2-acme", "t0-acme", "t1-acme"]
    assert first["previous"] is None
    second = proposer.get(first["next"].partition("/api/v1/")[2]).json()
    third = proposer.get(second["next"].partition("/api/v1/")[2]).json()
    assert [len(page["results"]) for page in (second, third)] == [3, 1]
    assert third["next"] is None
    back = proposer.get(third["previous"].partition("/api/v1/")[2]).json()
    assert back["results"] == second["results"]
    assert refused(proposer.get(path, "?cursor=x1")) == (400, "INVALID_CURSOR")


def test_targets_are_found_by_state_wave_and_lateness(proposer: Caller, approver: Caller) -> None:
    made(6)
    rollout = running(proposer, approver, **TERMS)
    path = f"rollouts/{rollout['id']}/targets"

    def names(query: str) -> list[str]:
        return [one["name"] for one in proposer.get(path, query).json()["results"]]

    assert names("?wave=0") == ["t2-acme"]
    assert len(names("?wave=0&wave=2")) == 3
    assert (names("?state=failed"), len(names("?state=waiting&state=failed"))) == ([], 6)
    assert (names("?late=true"), len(names("?late=false"))) == ([], 6)
    row(rollout).targets.filter(wave=2).update(late=True)
    assert len(names("?late=true")) == 2
    assert refused(proposer.get(path, "?sate=failed")) == (400, "UNKNOWN_PARAMETER")


def test_a_target_is_skipped_with_a_reason_and_no_other_way(proposer: Caller, approver: Caller) -> None:
    made(3)
    rollout = running(proposer, approver)
    path = f"rollouts/{rollout['id']}/targets"
    target = proposer.get(path).json()["results"][1]
    skip = f"{path}/{target['id']}/skip"
    assert refused(proposer.post(skip)) == (422, "VALIDATION_FAILED")
    assert refused(proposer.post(f"{path}/ten_{'0' * 32}/skip", {"reason": "x"})) == (404, "NOT_FOUND")
    skipped = proposer.post(skip, {"reason": "it is leaving"}).json()
    assert (skipped["id"], skipped["state"], skipped["reason"]) == (target["id"], "skipped", "it is leaving")
    assert refused(proposer.post(skip, {"reason": "again"})) == (409, "STATE_CONFLICT")
    driven(row(rollout))
    ended = proposer.get(f"rollouts/{rollout['id']}").json()
    assert (ended["state"], ended["counts"]["skipped"], ended["counts"]["succeeded"]) == ("succeeded", 1, 2)


def test_rollouts_are_listed_newest_first_and_by_state_and_release(proposer: Caller, approver: Caller) -> None:
    made(2)
    ids = [draft(proposer)["id"] for _ in range(2)]
    first = running(proposer, approver, parallelism=1)["id"]

    def listed(query: str) -> list[str]:
        return [one["id"] for one in proposer.get("rollouts", query).json()["results"]]

    assert listed("") == [first, *reversed(ids)]
    assert listed("?state=running") == [first]
    assert listed("?release=next&state=draft") == list(reversed(ids))
    assert listed("?release=other") == []
    (shown,) = proposer.get("rollouts", "?state=running").json()["results"]
    assert shown["counts"] == {
        "targets": 2, "waiting": 2, "running": 0, "succeeded": 0, "failed": 0, "skipped": 0, "late": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"colour": "red"}, "colour"),
        ({"release": "no such"}, "release"),
        ({"filter": {"tyre": ["schema"]}}, "filter.tyre"),
        ({"canary": ["nobody"]}, "canary"),
        ({"waves": [{"count": 5}]}, "waves"),
        ({"waves": [{"count": 5, "percent": 3}, {"percent": 100}]}, "waves"),
        ({"waves": [{"count": "5"}]}, "waves"),
        ({"max_failures": {"classes": {"bad luck": 1}}}, "max_failures.classes"),
        ({"window": {"days": ["sat"], "from": "22:00", "to": "22:00"}}, "window"),
        ({"window": {"days": ["sat"], "from": "10pm", "to": "22:00"}}, "window.from"),
        ({"lock_timeout_s": "2"}, "lock_timeout_s"),
        ({"parallelism": 0}, "parallelism"),
    ],
)
def test_what_is_no_rollout_is_refused_by_the_name_of_the_field(
    proposer: Caller, body: dict[str, Any], field: str
) -> None:
    answer = proposer.post("rollouts", {"release": "next", **body})
    assert refused(answer) == (422, "VALIDATION_FAILED")
    assert answer.json()["errors"][0]["field"].startswith(field), answer.json()["errors"]


def test_a_release_that_takes_away_what_somebody_uses_is_refused_and_says_who(
    proposer: Caller, approver: Caller
) -> None:
    made(2)
    Release.objects.filter(name="next").update(contracts="next")
    proposed = draft(proposer)
    assert len(proposed["plan"]["older"]) == 2
    answer = approve(approver, proposed)
    assert refused(answer) == (409, "OLDER_RELEASE_RUNS")
    assert answer.json()["metadata"]["running"] == proposed["plan"]["older"]


def test_targets_that_another_rollout_has_not_finished_with_are_refused(proposer: Caller, approver: Caller) -> None:
    made(2)
    first = running(proposer, approver)
    answer = approve(approver, draft(proposer))
    assert (refused(answer), answer.json()["metadata"]) == ((409, "OPERATION_IN_PROGRESS"), {"rollout": first["id"]})


def test_an_eta_is_a_range_or_nothing(proposer: Caller, approver: Caller, replayer: PlainReplayer) -> None:
    made(12)
    rollout = running(proposer, approver, waves=[{"count": 6}, {"percent": 100}], parallelism=1)
    path = f"rollouts/{rollout['id']}"
    assert proposer.get(path).json()["eta"] is None
    row(rollout).targets.filter(wave=1).update(state="succeeded", seconds=2.0)
    shown = proposer.get(path)
    eta = shown.json()["eta"]
    assert eta["earliest"] < eta["latest"]
    assert shown["Retry-After"] == "5"
    lifecycle.pause_rollout(row(rollout), actor=BILLING)
    assert proposer.get(path).json()["eta"] is None


def test_nothing_moves_before_its_start(proposer: Caller, approver: Caller, replayer: PlainReplayer) -> None:
    """A start in the future is shown and kept."""
    made(1)
    rollout = running(proposer, approver, starts_at="2999-01-01T00:00:00Z")
    lifecycle.advance(queue=Queue.FLEET)
    time_passes()
    lifecycle.advance(queue=Queue.FLEET)
    assert (replayer.calls, rollout["starts_at"]) == ([], "2999-01-01T00:00:00Z")
