"""What a person does with a rollout in the admin: read the plan, approve it, and act on what failed."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from provisioning import lifecycle
from provisioning.models import Release, Rollout, RolloutTarget, Run
from tests import standing_rollouts as made
from tests.controlplane.admin.test_rollout_page import ROLLOUTS, words
from tests.controlplane.admin.test_verbs import confirm, hidden
from tests.fleet import BILLING
from tests.staff import signed_in, someone

pytestmark = pytest.mark.long

TARGETS = "/admin/provisioning/rollouttarget/"
PROPOSE = f"{ROLLOUTS}propose/"


@pytest.fixture
def release(door: None) -> Release:
    return made.release()


def proposed(release: Release, **terms: Any) -> Rollout:
    made.tenants(3)
    asked = lifecycle.RolloutTerms(selection={"tier": ["schema"]}, **terms)
    return lifecycle.propose_rollout(release=release, terms=asked, actor=BILLING, key="k")


def stopped(release: Release) -> Rollout:
    """Over its budget, in its only wave."""
    rollout = made.rollout(release, "paused", {1: 3}, pause_reason="error_budget", pause_detail="Too many.")
    made.targets(rollout, ["succeeded", "failed", "failed", "waiting"])
    return rollout


def url(rollout: Rollout, verb: str) -> str:
    return f"{ROLLOUTS}{rollout.pk}/{verb}/"


def test_what_is_approved_is_the_plan_on_the_page(ops: Client, release: Release) -> None:
    draft = proposed(release, waves=[{"count": 1}, {"percent": 100}])
    page = ops.get(url(draft, "approve"))
    text = words(page.content.decode())
    assert f"approve the plan {draft.plan_digest}" in text
    assert "wave 1: 1 schema wave 2: 2 schema" in text
    assert "ADD CONSTRAINT" in text
    done = ops.post(url(draft, "approve"), hidden(page))
    assert (done.status_code, done["Location"]) == (302, f"{ROLLOUTS}{draft.pk}/")
    draft.refresh_from_db()
    assert (draft.state, draft.targets.count()) == ("running", 3)
    assert draft.approved_by == f"user:{User.objects.get(username='ops').pk}"


def test_a_fleet_that_changed_meanwhile_brings_the_page_back_with_the_difference(ops: Client, release: Release) -> None:
    draft = proposed(release)
    page = ops.get(url(draft, "approve"))
    made.tenants(1, prefix="late")
    shown = page.context["form"]["shown"].value()
    back = ops.post(url(draft, "approve"), {**hidden(page), "shown": shown})
    text = back.content.decode()
    assert back.status_code == 409
    assert "<ins>wave 1: 4 schema</ins>" in text
    assert "<del>wave 1: 3 schema</del>" in text
    assert Rollout.objects.get().state == "draft"
    assert ops.post(url(draft, "approve"), hidden(back)).status_code == 302
    assert draft.targets.count() == 4


def test_a_plan_with_a_refusal_has_no_button(ops: Client, release: Release) -> None:
    draft = proposed(release)
    refusal = {"statement": "TRUNCATE t", "reason": "It empties the table.", "instead": "Write DELETE."}
    draft.plan["paths"][0]["refusals"] = [refusal]
    draft.save()
    text = ops.get(url(draft, "approve")).content.decode()
    assert "It empties the table." in text
    assert 'id="confirm-button"' not in text


def test_what_a_rehearsal_objects_to_is_approved_with_a_reason_alone(ops: Client, release: Release) -> None:
    draft = proposed(release)
    address = url(draft, "approve")
    before = ops.get(address)
    assert 'name="reason"' not in before.content.decode()
    rehearsal = made.rehearsal(draft)
    late = ops.post(address, {**hidden(before), "shown": before.context["form"]["shown"].value()})
    assert (late.status_code, "<ins>override what the rehearsal found" in late.content.decode()) == (409, True)
    page = words(ops.get(address).content.decode())
    for said in ("Its rehearsal objects", "locked ACCESS EXCLUSIVE for 812 ms", "COPY_FAILED r1-acme", "0005_named:"):
        assert said in page
    refused = confirm(ops, address, reason="  ")
    assert refused.status_code == 422
    assert "This field is required" in refused.content.decode().split('id="reason-error"')[1].split("</div>")[0]
    draft.refresh_from_db()
    assert draft.state == "draft"
    assert confirm(ops, address, reason="Nobody works at night.").status_code == 302
    draft.refresh_from_db()
    rehearsal.refresh_from_db()
    assert (draft.state, rehearsal.override) == ("running", "Nobody works at night.")
    assert rehearsal.overridden_by == draft.approved_by


def test_a_draft_is_rehearsed_on_so_many_copies_and_leads_to_the_operation(ops: Client, release: Release) -> None:
    draft = proposed(release)
    address = url(draft, "rehearse")
    for wrong in ("0", "21"):
        refused = confirm(ops, address, copies=wrong)
        assert (refused.status_code, 'id="copies-error"' in refused.content.decode()) == (422, True)
    page = ops.get(address)
    form = {**hidden(page), "copies": "2"}
    done = [ops.post(address, form) for _click in range(2)]
    run = Run.objects.get(workflow="rollout rehearsal")
    assert {answer["Location"] for answer in done} == {f"/admin/provisioning/run/{run.pk}/"}
    assert (run.input["k"], run.input["rollout_id"]) == (2, str(draft.pk))
    shown = ops.get(f"{ROLLOUTS}{draft.pk}/").content.decode().split('id="rehearsal"')[1]
    assert f"/admin/provisioning/run/{run.pk}/" in shown
    busy = ops.get(address).content.decode()
    assert f"Operation {run.public_id} rehearses it already." in busy
    assert 'id="confirm-button"' not in busy


def test_a_rollout_is_paused_and_resumed_without_a_reason(ops: Client, release: Release) -> None:
    rollout = made.rollout(release, "running")
    made.targets(rollout, ["waiting"])
    assert confirm(ops, url(rollout, "pause")).status_code == 302
    rollout.refresh_from_db()
    assert (rollout.state, rollout.pause_reason) == ("paused", "operator")
    assert confirm(ops, url(rollout, "resume")).status_code == 302
    rollout.refresh_from_db()
    assert rollout.state == "running"


def test_after_a_breach_it_is_resumed_with_a_reason_and_what_failed_is_forgiven(ops: Client, release: Release) -> None:
    rollout = stopped(release)
    assert "forgive 2 targets that failed" in ops.get(url(rollout, "resume")).content.decode()
    assert confirm(ops, url(rollout, "resume"), reason=" ").status_code == 422
    assert confirm(ops, url(rollout, "resume"), reason="Both are known.").status_code == 302
    rollout.refresh_from_db()
    assert (rollout.state, rollout.reason) == ("running", "Both are known.")
    assert rollout.targets.filter(forgiven=True).count() == 2


def test_only_what_failed_is_retried(ops: Client, release: Release) -> None:
    rollout = stopped(release)
    assert 'id="verb-retry_failed"' in ops.get(f"{ROLLOUTS}{rollout.pk}/").content.decode()
    assert confirm(ops, url(rollout, "retry_failed")).status_code == 302
    states = rollout.targets.order_by("position").values_list("state", flat=True)
    assert list(states) == ["succeeded", "waiting", "waiting", "waiting"]
    page = ops.get(url(rollout, "retry_failed")).content.decode()
    assert "Nothing has failed." in page
    assert 'id="confirm-button"' not in page


def test_one_target_is_skipped_with_a_reason(ops: Client, release: Release) -> None:
    failed = stopped(release).targets.filter(state="failed").earliest("position")
    address = f"{TARGETS}{failed.pk}/skip/"
    assert 'id="verb-skip"' in ops.get(f"{TARGETS}{failed.pk}/").content.decode()
    assert confirm(ops, address, reason="").status_code == 422
    done = confirm(ops, address, reason="They leave on Friday.")
    assert (done.status_code, done["Location"]) == (302, f"{TARGETS}{failed.pk}/")
    failed.refresh_from_db()
    assert (failed.state, failed.reason) == ("skipped", "They leave on Friday.")
    page = ops.get(done["Location"]).content.decode()
    assert "They leave on Friday." in page
    assert 'id="verb-skip"' not in page
    again = ops.get(address).content.decode()
    assert "cannot be skipped now" in again


def test_a_rollout_is_cancelled_with_a_reason(ops: Client, release: Release) -> None:
    rollout = stopped(release)
    assert confirm(ops, url(rollout, "cancel"), reason="").status_code == 422
    assert confirm(ops, url(rollout, "cancel"), reason="Not today.").status_code == 302
    rollout.refresh_from_db()
    assert (rollout.state, rollout.reason) == ("cancelled", "Not today.")


@pytest.mark.parametrize("verb", ["pause", "resume", "retry_failed", "cancel", "approve", "rehearse"])
def test_who_may_only_look_is_refused_by_the_server_too(viewer: Client, release: Release, verb: str) -> None:
    rollout = stopped(release)
    form = {"digest": "sha256:", "key": "k", "reason": "I insist."}
    assert viewer.get(url(rollout, verb)).status_code == 403
    assert viewer.post(url(rollout, verb), form).status_code == 403
    target = rollout.targets.filter(state="failed").earliest("position")
    assert viewer.post(f"{TARGETS}{target.pk}/skip/", form).status_code == 403
    assert RolloutTarget.objects.filter(state="failed").count() == 2
    assert Rollout.objects.get().state == "paused"


def test_approving_and_operating_are_two_permissions(release: Release) -> None:
    draft = proposed(release)
    reader, operator = (
        signed_in(someone(name, "provisioning.view_rollout", f"provisioning.{may}_rollout"))
        for name, may in (("reader", "approve"), ("operator", "operate"))
    )
    assert operator.get(url(draft, "approve")).status_code == 403
    assert reader.get(url(draft, "cancel")).status_code == 403
    assert reader.get(PROPOSE).status_code == 403
    assert confirm(reader, url(draft, "approve")).status_code == 302
    assert confirm(operator, url(draft, "pause")).status_code == 302


# --- proposing -------------------------------------------------------------------------------------------------------

ASKED = {
    "release": "2030.01.1", "tier": ["schema"], "waves": "1, 50 %, 100%", "failures": "2", "classes": "drift=0",
    "canary": "r1-acme", "labels": "", "parallelism": "3", "lock_timeout_ms": "500", "days": ["sat", "sun"],
    "opens": "22:00", "closes": "04:00", "starts_at": "2031-01-01T10:00", "key": "one",
}  # fmt: skip


def test_a_draft_is_proposed_by_form_and_leads_to_its_plan(ops: Client, release: Release) -> None:
    made.tenants(5)
    assert 'value="2030.01.1" selected' in ops.get(f"{PROPOSE}?release=2030.01.1").content.decode()
    answer = ops.post(PROPOSE, ASKED)
    draft = Rollout.objects.get()
    assert (answer.status_code, answer["Location"]) == (302, f"{ROLLOUTS}{draft.pk}/")
    assert (draft.state, draft.release, draft.parallelism, draft.lock_timeout_ms) == ("draft", release, 3, 500)
    assert (draft.selection, draft.canary) == ({"tier": ["schema"]}, ["r1-acme"])
    assert draft.waves == [{"count": 1}, {"percent": 50}, {"percent": 100}]
    assert draft.max_failures == {"count": 2, "classes": {"drift": 0}}
    assert draft.window == {"days": ["sat", "sun"], "from": "22:00", "to": "04:00"}
    assert draft.starts_at is not None
    assert f"{draft.starts_at:%Y-%m-%d %H:%M}" == "2031-01-01 10:00"
    page = words(ops.get(answer["Location"]).content.decode())
    assert "canaries: 1 schema wave 1: 1 schema" in page
    assert "You proposed it, so you do not approve it." in page


def test_a_proposal_that_is_sent_twice_is_one_draft(ops: Client, release: Release) -> None:
    first, second = ops.post(PROPOSE, ASKED | {"canary": ""}), ops.post(PROPOSE, ASKED | {"canary": ""})
    assert first["Location"] == second["Location"]
    assert Rollout.objects.count() == 1


@pytest.mark.parametrize(
    ("wrong", "field", "said"),
    [
        ({"waves": "5"}, "waves", "The last wave is"),
        ({"waves": "some"}, "waves", "Write 5 for the next five targets"),
        ({"canary": "nobody"}, "canary", "There is no tenant nobody."),
        ({"classes": "weather=1"}, "failures", "Unknown: weather."),
        ({"classes": "drift"}, "classes", "Write name=value"),
        ({"days": []}, "days", "on which days"),
        ({"opens": ""}, "opens", "when the window opens"),
        ({"closes": "22:00"}, "days", "The window closes when it opens."),
        ({"parallelism": "65"}, "parallelism", "1 to 64 lanes"),
    ],
)
def test_what_is_wrong_is_said_beside_its_field(
    ops: Client, release: Release, wrong: dict[str, Any], field: str, said: str
) -> None:
    answer = ops.post(PROPOSE, {**ASKED, "canary": "", **wrong})
    text = answer.content.decode()
    assert answer.status_code == 422
    assert said in text.split(f'id="{field}-error"')[1].split("</div>")[0].replace("&quot;", '"')
    assert not Rollout.objects.exists()
