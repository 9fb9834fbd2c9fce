from collections.abc import Callable
from pathlib import Path

import pytest

from provisioning.engine import control
from provisioning.errors import PastPivot, ReasonMissing
from provisioning.models import Run, RunState
from tenants.errors import StateConflict
from tenants.models import AuditEntry, Tenant
from tests.provisioning.engine.building import BOB, SELL, WHOLE, calls, inventory
from tests.provisioning.engine.driving import Begin, drive, drive_on, error_of

STEPS = ("survey", "foundation", "count", "walls", "roof")
ALL_BUT_THE_LAST = STEPS[:-1]


@pytest.mark.parametrize("step", ALL_BUT_THE_LAST)
def test_a_pause_is_obeyed_at_the_next_boundary_and_resume_goes_on(begin: Begin, site: Path, step: str) -> None:
    run = drive(begin(trouble={step: "pause"}))
    assert (run.state, run.control, run.lease_until, control.actions(run)) == (
        "paused",
        None,
        None,
        ["resume", "cancel"],
    )
    assert calls(site)[step] == 1  # of the walls one chunk
    drive(run)
    assert run.state == "paused"  # nobody resumes it but a person
    control.resume(run, actor=BOB)
    assert (drive_on(run).state, inventory(site)) == ("succeeded", WHOLE)


@pytest.mark.parametrize("step", ALL_BUT_THE_LAST)
def test_a_cancel_is_obeyed_at_the_next_boundary_and_takes_everything_back(
    begin: Begin, site: Path, acme: Tenant, step: str
) -> None:
    run = drive_on(begin(trouble={step: "cancel"}))
    assert (run.state, error_of(run)["code"], error_of(run)["detail"]) == (
        "cancelled",
        "CANCELLED",
        "not wanted any more",
    )
    acme.refresh_from_db()
    assert (inventory(site), acme.version) == ([], 1)
    assert not set(calls(site)) & set(STEPS[STEPS.index(step) + 1 :])


def test_a_cancel_wins_over_the_retries_of_a_failing_step(begin: Begin, site: Path) -> None:
    run = begin(trouble={"foundation": "wait for lights"})
    drive(run)
    control.cancel(run, reason="takes too long", actor=BOB)
    assert (drive(run).state, inventory(site)) == ("cancelled", [])


def test_a_waiting_run_pauses_at_once_and_keeps_its_cursor(begin: Begin, site: Path) -> None:
    run = drive(begin())
    assert run.steps.get(name="walls").state == "waiting"
    control.pause(run, actor=BOB)
    assert (run.state, run.steps.get(name="walls").cursor) == ("paused", {"built": 4})
    control.resume(run, actor=BOB)
    assert (drive(run).state, calls(site)["walls"]) == ("succeeded", 5)


def test_a_paused_run_can_be_cancelled(begin: Begin, site: Path) -> None:
    run = drive(begin(trouble={"count": "pause"}))
    control.cancel(run, reason="not wanted", actor=BOB)
    assert (drive_on(run).state, inventory(site)) == ("cancelled", [])


def test_a_pause_can_be_taken_back_before_it_is_obeyed(begin: Begin) -> None:
    run = begin()
    Run.objects.filter(pk=run.pk).update(  # as if a worker were in the middle of a step
        state="running", fence=1, owner="host:1", lease_until="2100-01-01T00:00Z"
    )
    control.pause(run, actor=BOB)
    assert (run.state, run.control, control.actions(run)) == ("running", "pause", ["resume", "cancel"])
    control.resume(run, actor=BOB)
    assert (run.state, run.control, control.actions(run)) == ("running", None, ["pause", "cancel"])


def test_a_queued_run_is_cancelled_at_once_and_frees_its_tenant(begin: Begin, site: Path) -> None:
    run = begin()
    assert control.actions(run) == ["cancel"]
    control.cancel(run, reason="a mistake", actor=BOB)
    assert (run.state, run.fence, calls(site)) == ("cancelled", None, {})
    begin()


def test_nothing_is_cancelled_once_the_pivot_has_begun(begin: Begin, site: Path) -> None:
    run = drive_on(begin(SELL, trouble={"move in": "permanent"}))
    for act in (control.cancel, control.undo):
        with pytest.raises(PastPivot) as refused:
            act(run, reason="regrets", actor=BOB)
        assert refused.value.metadata == {"pivot": "sign"}
    assert control.actions(run) == ["retry"]


@pytest.mark.parametrize("act", [control.cancel, control.retry, control.skip, control.undo])
def test_an_act_that_changes_a_tenants_fate_needs_a_reason(begin: Begin, act: Callable[..., None]) -> None:
    with pytest.raises(ReasonMissing):
        act(begin(), reason="  ", actor=BOB)


def test_a_parked_step_marked_skippable_may_be_left_out(begin: Begin, site: Path) -> None:
    run = drive_on(begin(trouble={"foundation": "bug"}))
    assert control.actions(run) == ["retry", "skip", "undo"]
    control.skip(run, reason="built on rock", actor=BOB)
    assert drive_on(run).state == "succeeded"
    row = run.steps.get(name="foundation")
    assert (row.state, row.reason) == ("skipped", "built on rock")
    assert inventory(site) == [name for name in WHOLE if not name.startswith("foundation")]


def test_a_parked_step_not_marked_may_not(begin: Begin) -> None:
    run = drive_on(begin(trouble={"walls": "bug"}))
    with pytest.raises(StateConflict) as refused:
        control.skip(run, reason="who needs walls", actor=BOB)
    assert refused.value.metadata["actions"] == ["retry", "undo"]


def test_any_parked_undo_step_may_be_left_out_and_the_run_still_ends_as_failed(begin: Begin, site: Path) -> None:
    run = drive_on(begin(trouble={"walls": "permanent", "undo/foundation": "bug"}))
    assert control.actions(run) == ["retry", "skip"]
    control.skip(run, reason="the digger is gone", actor=BOB)
    assert (run.state, error_of(run)["step"]) == ("failed", "walls")


def test_a_parked_run_is_undone_on_request(begin: Begin, site: Path, acme: Tenant) -> None:
    run = drive_on(begin(trouble={"roof": "bug"}))
    control.undo(run, reason="no roof, no house", actor=BOB)
    drive_on(run)
    acme.refresh_from_db()
    assert (run.state, error_of(run)["code"], inventory(site), acme.version) == ("failed", "UNFORESEEN", [], 1)


@pytest.mark.parametrize("state", [RunState.SUCCEEDED, RunState.FAILED])
def test_a_parked_run_may_be_called_ended_with_a_reason(begin: Begin, state: RunState) -> None:
    run = drive_on(begin(trouble={"roof": "bug"}))
    control.force_complete(run, as_state=state, reason="done by hand", actor=BOB)
    assert (run.state, run.forced, run.reason, control.actions(run)) == (state, True, "done by hand", [])


def test_an_ended_run_allows_nothing(begin: Begin) -> None:
    run = drive_on(begin())
    with pytest.raises(StateConflict):
        control.pause(run, actor=BOB)


def test_each_act_is_written_down_with_its_person(begin: Begin) -> None:
    run = drive(begin(trouble={"survey": "pause", "foundation": "cancel"}))
    control.resume(run, actor=BOB)
    drive_on(run)
    acts = run.events.filter(actor=str(BOB)).order_by("id").values_list("kind", "detail")
    assert list(acts) == [
        ("started", ""),
        ("pause_requested", ""),
        ("resumed", ""),
        ("cancel_requested", "not wanted any more"),
    ]
    told = AuditEntry.objects.filter(public__operation=str(run.pk), public__actor=str(BOB))
    sealed = {entry.public["action"]: set(entry.public["commits"]) for entry in told}
    assert sealed["operation.cancel_requested"] == {"reason", "actor_name"}
    assert sealed["operation.paused"] == set()  # nobody asks why
