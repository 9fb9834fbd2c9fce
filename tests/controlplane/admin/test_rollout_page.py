"""The page of one rollout: its waves as bars and as a table, why it waits, what failed, and the fragment that polls."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from controlplane.admin import rollout_squares
from provisioning.models import Release, Rollout, RolloutTarget, Run
from tests import standing_rollouts as made
from tests.controlplane.admin.test_operation_page import SIGNED_IN, live_url, verbs
from tests.staff import signed_in, someone

pytestmark = pytest.mark.long

ROLLOUTS = "/admin/provisioning/rollout/"


def page(client: Client, rollout: Rollout) -> str:
    answer = client.get(f"{ROLLOUTS}{rollout.pk}/")
    assert answer.status_code == 200
    return answer.content.decode()


def words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


@pytest.fixture
def release(door: None) -> Release:
    return made.release()


@pytest.fixture
def running(release: Release) -> Rollout:
    """At wave 1 of 2, with a target in each state there, and two that wait for the next wave."""
    rollout = made.rollout(release, "running", {0: 1, 1: 5, 2: 2}, wave=1)
    made.targets(rollout, ["succeeded"], wave=0)
    made.targets(rollout, ["succeeded", "running", "failed", "skipped", "waiting"], wave=1)
    made.targets(rollout, ["waiting", {"state": "waiting", "late": True}], wave=2)
    return rollout


@pytest.mark.parametrize(
    ("state", "why", "allowed"),
    [
        ("draft", "", {"approve", "rehearse", "cancel"}),
        ("running", "", {"pause", "cancel"}),
        ("paused", "operator", {"resume", "cancel"}),
        ("paused", "error_budget", {"resume", "cancel"}),
        ("succeeded", "", set()),
        ("cancelled", "", set()),
    ],
)
def test_the_page_offers_what_the_state_allows_and_asks_again_until_it_is_over(
    ops: Client, release: Release, state: str, why: str, allowed: set[str]
) -> None:
    rollout = made.rollout(release, state, {1: 3}, pause_reason=why)
    if state != "draft":
        made.targets(rollout, ["succeeded", "skipped"])
    text = page(ops, rollout)
    assert f'data-state="{"stopped" if why == "error_budget" else state}"' in text
    assert verbs(text) == allowed
    assert (f'hx-get="{ROLLOUTS}' in text) == (state not in {"succeeded", "cancelled"})


def test_the_bar_of_a_wave_stands_beside_its_numbers(ops: Client, running: Rollout) -> None:
    rows = page(ops, running).split('id="waves"')[1].split("</table>")[0].split("<tr")[2:]
    assert [words(f"<tr {row}") for row in rows] == [
        "Canaries 1 0 0 0 0 0 1",
        "Wave 1 1 1 1 1 1 0 5",
        "Wave 2 0 0 0 0 2 1 2",
        "All 2 1 1 1 3 1 8",
    ]
    assert re.findall(r"tn-part-(\w+)\" style=\"left: ([\d.]+)%; width: 20", rows[1]) == [
        ("succeeded", "0.000"), ("running", "20.000"), ("failed", "40.000"), ("skipped", "60.000"),
        ("waiting", "80.000"),
    ]  # fmt: skip
    assert 'aria-current="step"' in rows[1]
    assert "tn-latecomers" in rows[2]


def test_where_it_is_and_what_it_has_cost_is_said_in_words(ops: Client, running: Rollout) -> None:
    Rollout.objects.update(max_failures={"count": 3, "percent": 50, "classes": {"drift": 0, "data error": 1}})
    text = words(page(ops, running))
    for said in ("Now: wave 1 of 2.", "4 of 8 targets, 1 failed", "1 of 3 failures used", "0 of 0 used for drift",
                 "1 of 1 used for data error", "25 % of this wave failed, of 50 %"):  # fmt: skip
        assert said in text


def test_what_was_forgiven_costs_nothing_any_more(ops: Client, running: Rollout) -> None:
    running.targets.filter(state="failed").update(forgiven=True)
    text = words(page(ops, running))
    assert "0 of 3 failures used" in text
    assert "1 more failed before it was resumed" in text


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"starts_at": timezone.now().replace(year=2099, month=1, day=3)}, "Waits for its start, Sat 03 Jan"),
        (
            {"window": {"days": [f"{timezone.now() + timedelta(days=3):%a}".lower()], "from": "22:00", "to": "04:00"}},
            "22:00 to 04:00 UTC), which opens",
        ),
    ],
    ids=["start", "window"],
)
def test_outside_of_its_time_it_says_when_it_goes_on(
    ops: Client, running: Rollout, fields: dict[str, Any], said: str
) -> None:
    Rollout.objects.update(**fields)
    text = page(ops, running)
    assert said in words(text)
    assert 'data-state="waiting"' in text


def test_a_blocked_target_names_the_operation_that_it_waits_for(ops: Client, running: Rollout) -> None:
    blocker = made.a_run()
    made.targets(running, [made.blocked(blocker.pk)], prefix="b")
    text = page(ops, running)
    assert "1 target waits for an operation on the same tenant or pool to end." in text
    apart = text.split('id="apart"')[1].split("</section>")[0]
    assert f"/admin/provisioning/run/{blocker.pk}/" in apart
    assert "b1-0-acme" in apart


def test_late_and_skipped_targets_are_listed_apart(ops: Client, running: Rollout) -> None:
    apart = words(page(ops, running).split('id="apart"')[1].split("</section>")[0])
    assert "1 joined late r2-1-acme waiting" in apart
    assert "1 skipped r1-3-acme The customer asked for it." in apart


def test_failures_are_grouped_by_cause_with_everything_that_is_known(ops: Client, release: Release) -> None:
    rollout = made.rollout(release, "paused", {1: 5}, pause_reason="error_budget", pause_detail="Four targets failed.")
    other = {**made.WRONG_ROW, "detail": "another row is wrong"}
    errors = (made.WRONG_ROW, other, made.LOCKED, made.DRIFTED)
    made.targets(rollout, [{"state": "failed", "error": error} for error in errors])
    text = page(ops, rollout)
    assert "Four targets failed." in text
    causes = [words(each) for each in text.split('id="failures"')[1].split("</section>")[0].split("tn-cause")[1:]]
    assert len(causes) == 3
    assert "2 data error DATA_ERROR SQLSTATE 23514 projects.0005_named" in causes[0]
    assert "Mend the rows, then retry." in causes[0]
    assert "ADD CONSTRAINT &quot;named&quot; CHECK" in causes[0]
    assert causes[0].endswith("r1-0-acme r1-1-acme") or "r1-0-acme r1-1-acme" in causes[0]
    assert "+ column projects_project.extra integer" in causes[1]
    assert "r1-2-acme" in causes[2]


def test_what_a_database_says_is_only_text(ops: Client, release: Release) -> None:
    rollout = made.rollout(release, "running", {1: 1})
    script = "<script>alert(1)</script>"
    error = dict.fromkeys(("class", "code", "detail", "statement", "migration", "hint", "difference"), script)
    made.targets(rollout, [{"state": "failed", "error": error}])
    target = rollout.targets.get()
    for url in (f"{ROLLOUTS}{rollout.pk}/", f"/admin/provisioning/rollouttarget/{target.pk}/",
                f"/admin/provisioning/rollouttarget/?rollout={rollout.pk}"):  # fmt: skip
        text = ops.get(url).content.decode()
        assert script not in text
        assert "&lt;script&gt;" in text


def test_every_target_is_a_square_that_leads_to_its_page(ops: Client, running: Rollout) -> None:
    squares = re.findall(r'<a class="tn-square [^>]+href="([^"]+)" aria-label="([^"]+)">(\w)</a>', page(ops, running))
    assert [(label, letter) for _url, label, letter in squares] == [
        ("r0-0-acme: done", "D"), ("r1-0-acme: done", "D"), ("r1-1-acme: running", "R"), ("r1-2-acme: failed", "F"),
        ("r1-3-acme: skipped", "S"), ("r1-4-acme: waiting", "W"), ("r2-0-acme: waiting", "W"),
        ("r2-1-acme: waiting, late", "W"),
    ]  # fmt: skip
    for url, label, _letter in squares:
        assert label.split(":")[0] in ops.get(url).content.decode()


def test_more_targets_than_can_be_drawn_are_a_bar_and_a_link(
    ops: Client, running: Rollout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollout_squares, "MOST_SQUARES", 7)
    text = page(ops, running)
    assert "tn-square" not in text
    assert "r1-2-acme" in text.split('id="failures"')[1]  # who failed, is late or is out is named all the same
    assert "r2-1-acme" in text.split('id="apart"')[1]
    assert f"/admin/provisioning/rollouttarget/?rollout={running.pk}" in text


def test_every_number_leads_to_a_list_of_that_many(ops: Client, running: Rollout) -> None:
    cells = re.findall(r'<a class="tn-cell" href="([^"]+)">(\d+)<', page(ops, running))
    assert len(cells) == 7
    for url, number in cells:
        rows = ops.get(url.replace("&amp;", "&")).content.decode().split("<tbody>")[1].split("</tbody>")[0]
        assert rows.count("<tr>") == int(number), url


def test_the_plan_says_what_each_migration_sends_locks_and_changes(ops: Client, release: Release) -> None:
    plan = made.plan_of(release, {0: 1, 1: 9})
    plan["paths"][0]["migrations"] = [
        {**made.MIGRATION, "locks": [made.WEIGHT, {**made.WEIGHT, "rewrites": True}]},
        {"migration": "projects.0006_index", "atomic": False, "statements": [], "data": [], "locks": []},
    ]
    text = words(page(ops, made.rollout(release, "draft", plan=plan)).split('id="proposed"')[1])
    for said in (
        "sha256:", "10; 2 are on it already", "canaries: 1 schema wave 1: 9 schema", "none that anybody waits for",
        "projects_project ACCESS EXCLUSIVE scans", "rewrites scans Every row is looked at.",
        "Fill the names that are empty", "not in one transaction", "half-made The tenant is provisioning.",
        "not known: nobody has rehearsed it", "CHECK (&quot;name&quot;",
    ):  # fmt: skip
        assert said in text


def test_what_the_newest_rehearsal_found_is_on_the_page_as_soon_as_it_is_known(ops: Client, release: Release) -> None:
    draft = made.rollout(release, "draft")
    before = live_url(page(ops, draft))
    found = made.rehearsal(draft, run=made.a_run())
    assert ops.get(before).status_code == 200
    shown = page(ops, draft).split('id="rehearsal"')[1].split("</section>")[0]
    assert f"/admin/provisioning/run/{found.run_id}/" in shown
    for said in (
        "warning objects", "LOCK_HELD r0-acme", "COPY_FAILED r1-acme", "would take 2 s to 9.5 s",
        "r0-acme schema, from 2026.11.1 85.8 MiB 76.3 MiB in 3.2 s 1.4 s 48,211",
        "projects_project r0-acme ACCESS EXCLUSIVE 812 ms 70 MiB projects.0005_named",
        "projects_project r0-acme 48,211 all of it",
    ):  # fmt: skip
        assert said in words(shown), said
    made.rehearsal(draft, "failed", error="The process that ran it was ended.")
    both = words(page(ops, draft))
    assert "came to no end: The process that ran it was ended." in both
    assert "LOCK_HELD" in both  # it counts for an approval until another one is finished


# --- the fragment ----------------------------------------------------------------------------------------------------


def test_a_fragment_that_would_look_the_same_is_not_sent_and_costs_one_query(ops: Client, running: Rollout) -> None:
    url = live_url(page(ops, running))
    with CaptureQueriesContext(connection) as queries:
        answer = ops.get(url)
    assert (answer.status_code, answer.content) == (204, b"")
    assert len(queries) == SIGNED_IN + 1


@pytest.mark.parametrize("number", [1, 60])
def test_a_fragment_costs_four_queries_however_many_targets(ops: Client, release: Release, number: int) -> None:
    rollout = made.rollout(release, "running", {1: number})
    made.targets(rollout, ["failed", "succeeded", made.blocked()] * number)
    with CaptureQueriesContext(connection) as queries:
        assert ops.get(f"{ROLLOUTS}{rollout.pk}/live/?shown=another").status_code == 200
    assert len(queries) == SIGNED_IN + 4


def swap(running: Rollout) -> None:
    """One fails and another waits again: all counts stay."""
    failed, waits = (running.targets.get(wave=1, state=state) for state in ("failed", "waiting"))
    RolloutTarget.objects.filter(pk=waits.pk).update(state="failed", error=made.LOCKED)
    RolloutTarget.objects.filter(pk=failed.pk).update(state="waiting", error=None)


CHANGES = {
    "wave": lambda running: Rollout.objects.update(wave=2),
    "pause": lambda running: Rollout.objects.update(state="paused", pause_reason="operator"),
    "arrived": lambda running: running.targets.filter(state="running").update(state="succeeded", fence=None),
    "blocked": lambda running: running.targets.filter(wave=1, state="waiting").update(blocked_by=running.run_id),
    "forgiven": lambda running: running.targets.filter(state="failed").update(forgiven=True),
    "run": lambda running: Run.objects.filter(pk=running.run_id).update(state="parked", error=made.LOCKED),
    "swap": swap,
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_is_shown_makes_a_new_fragment(ops: Client, running: Rollout, change: str) -> None:
    url = live_url(page(ops, running))
    CHANGES[change](running)
    assert ops.get(url).status_code == 200


def test_a_rollout_that_is_over_stops_asking(ops: Client, running: Rollout) -> None:
    url = live_url(page(ops, running))
    Rollout.objects.update(state="succeeded", finished_at=timezone.now())
    text = ops.get(url).content.decode()
    assert 'data-state="succeeded"' in text
    assert "hx-get" not in text
    assert "hx-trigger" not in text
    assert verbs(text) == set()


def test_signed_out_meanwhile_leads_to_the_login_and_gone_says_so(ops: Client, running: Rollout) -> None:
    url = live_url(page(ops, running))
    gone = ops.get(f"{ROLLOUTS}00000000-0000-4000-8000-000000000000/live/")
    assert "This rollout no longer exists" in gone.content.decode()
    ops.logout()
    answer = ops.get(url)
    assert (answer.status_code, answer["HX-Redirect"]) == (204, f"/admin/login/?next={ROLLOUTS}{running.pk}/")


def test_a_rollout_that_goes_nowhere_though_it_may_says_so(ops: Client, running: Rollout) -> None:
    assert "No target ended or began" not in page(ops, running)
    long_ago = timezone.now() - timedelta(minutes=9)
    running.targets.update(started_at=long_ago, finished_at=long_ago)
    Rollout.objects.update(approved_at=long_ago)
    text = page(ops, running)
    assert "No target ended or began for 9 min" in text
    assert 'data-state="running stalled"' in text
    running.targets.filter(state="running").update(state="succeeded", fence=None)
    running.targets.filter(state="waiting").update(not_before=timezone.now() + timedelta(minutes=1))
    assert "No target ended or began" not in page(ops, running)  # nobody is due: it waits for that


# --- who may ---------------------------------------------------------------------------------------------------------


def test_who_may_only_look_sees_no_verb_and_whom_to_ask(viewer: Client, release: Release) -> None:
    someone("maria", "provisioning.approve_rollout")
    draft = made.rollout(release, "draft")
    text = page(viewer, draft)
    assert verbs(text) == set()
    asked = words(text.split('id="approvers"')[1].split("</div>")[0])
    assert "not approve it" in asked
    assert "maria or ops" in asked
    for state, why in (("running", ""), ("paused", "operator")):
        assert verbs(page(viewer, made.rollout(release, state, pause_reason=why))) == set()


def test_whoever_proposed_it_sees_why_the_button_is_missing(release: Release) -> None:
    permissions = ("view_rollout", "operate_rollout", "approve_rollout")
    anna = someone("anna", *(f"provisioning.{each}" for each in permissions))
    draft = made.rollout(release, "draft", proposed_by=f"user:{anna.pk}")
    client = signed_in(anna)
    text = page(client, draft)
    assert verbs(text) == {"rehearse", "cancel"}
    asked = words(text.split('id="approvers"')[1].split("</div>")[0])
    assert asked.endswith("You proposed it, so you do not approve it. Ask ops .")
    confirm = client.get(f"{ROLLOUTS}{draft.pk}/approve/").content.decode()
    assert "SAME_PERSON" in confirm
    assert 'id="confirm-button"' not in confirm


def test_who_may_not_see_rollouts_sees_none_of_it(nobody: Client, running: Rollout) -> None:
    target = running.targets.first()
    assert target is not None
    for url in (ROLLOUTS, f"{ROLLOUTS}{running.pk}/", f"/admin/provisioning/rollouttarget/{target.pk}/"):
        assert nobody.get(url).status_code == 403


def test_open_rollouts_stand_on_the_overview_and_releases_say_how_far_behind_one_is(
    ops: Client, running: Rollout
) -> None:
    section = words(ops.get("/admin/").content.decode().split('id="rollouts"')[1].split("</section>")[0])
    assert "running 2030.01.1 wave 1 of 2, 4 of 8, 1 failed" in section
    tenants = words(ops.get("/admin/tenants/tenant/?q=r1-").content.decode())
    assert tenants.count("1 behind") == 4  # all of the wave but the one that arrived
    released = words(ops.get(f"/admin/provisioning/release/{running.release_id}/").content.decode())
    assert "Roll out" in released
    assert "2030.01.1 1 0 by all tiers" in released
