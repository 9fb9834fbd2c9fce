from pathlib import Path

import pytest

from provisioning.engine import control
from provisioning.models import EventKind, Run, StepState
from tenants.models import Event, Tenant
from tests.provisioning.engine.building import BOB, SELL, WHOLE, calls, inventory
from tests.provisioning.engine.driving import Begin, drive, drive_on, error_of, make_due

STEPS = ("survey", "foundation", "count", "walls", "roof")


def visits(acme: Tenant) -> int:
    """How often the atomic step has counted, net of its undo."""
    acme.refresh_from_db()
    return acme.version - 1


@pytest.fixture(autouse=True)
def the_longest_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait that happens to be almost nothing would end within the same wake-up."""
    monkeypatch.setattr("random.uniform", lambda _least, most: most)


def drive_until_failed(run: Run) -> None:
    """To the first failed attempt, past the wait of the walls."""
    while not drive(run).attempts:
        make_due(run)


def kinds(run: Run) -> list[str]:
    return list(run.events.order_by("id").values_list("kind", flat=True))


def test_a_run_ends_with_every_effect_there_once(begin: Begin, site: Path, acme: Tenant) -> None:
    run = drive_on(begin())
    assert (run.state, run.error, run.lease_until, run.deadline_at) == ("succeeded", None, None, None)
    assert inventory(site) == WHOLE
    assert calls(site) == {"survey": 1, "foundation": 1, "count": 1, "walls": 5, "roof": 1}
    assert visits(acme) == 1


def test_later_steps_see_what_earlier_ones_gave(begin: Begin) -> None:
    run = drive_on(begin())
    outputs = [{}, {"built": "foundation"}, {}, {"walls": 3}, {"built": "roof"}]
    assert list(run.steps.order_by("position").values_list("output", flat=True)) == outputs


def test_a_waiting_step_frees_the_lease_and_says_what_it_waits_for(begin: Begin) -> None:
    run = drive(begin())
    assert (run.state, run.step, run.lease_until, run.owner) == ("running", "walls", None, "")
    row = run.steps.get(name="walls")
    assert (row.state, row.note, row.cursor) == (StepState.WAITING, "the plaster dries", {"built": 4})


@pytest.mark.parametrize("step", STEPS)
def test_a_transient_failure_is_tried_again_and_leaves_no_trace_in_the_end(begin: Begin, step: str) -> None:
    run = begin(trouble={step: "transient once"})
    drive_until_failed(run)
    assert (run.state, run.step, run.attempts, run.lease_until) == ("running", step, 1, None)
    assert run.error == {
        "code": "TRANSIENT", "detail": "The mixer is stuck.", "step": step, "attempts": 1, "retryable": True,
        "hint": "Nothing to do yet: it is tried again by itself.",
    }  # fmt: skip
    drive_on(run)
    assert (run.state, run.error, run.steps.get(name=step).attempts) == ("succeeded", None, 1)


def test_attempts_used_up_park_the_run_and_a_retry_starts_counting_anew(begin: Begin) -> None:
    run = drive_on(begin(trouble={"foundation": "transient"}))
    assert (run.state, run.attempts, error_of(run)["code"], run.step) == ("parked", 3, "TRANSIENT", "foundation")
    assert "not tried again by itself" in error_of(run)["hint"]
    assert kinds(run)[-4:] == ["failed", "failed", "failed", "parked"]
    control.retry(run, reason="the mixer is mended", actor=BOB)
    assert (drive(run).attempts, run.state) == (1, "running")


def test_attempts_used_up_undo_the_run_where_the_step_says_so(begin: Begin, site: Path, acme: Tenant) -> None:
    run = drive_on(begin(trouble={"roof": "transient"}))
    assert (run.state, error_of(run)["code"], error_of(run)["step"]) == ("failed", "TRANSIENT", "roof")
    assert (inventory(site), visits(acme)) == ([], 0)


@pytest.mark.parametrize("step", STEPS)
def test_a_refusal_undoes_everything_beginning_with_the_failed_step(
    begin: Begin, site: Path, acme: Tenant, step: str
) -> None:
    run = drive_on(begin(trouble={step: "permanent"}))
    assert (run.state, run.direction, error_of(run)["detail"]) == ("failed", "undo", "The ground is too soft.")
    assert (inventory(site), visits(acme)) == ([], 0)
    began = STEPS[1 : STEPS.index(step) + 1]  # the survey changes nothing
    undone = [line for line in (site / "calls").read_text().splitlines() if line.startswith("undo/")]
    assert undone == [f"undo/{name}" for name in reversed(began)]


def test_a_refusal_at_or_after_the_pivot_parks(begin: Begin, site: Path) -> None:
    run = drive_on(begin(SELL, trouble={"sign": "permanent"}))
    assert (run.state, run.pivoted, run.direction) == ("parked", True, "do")
    assert inventory(site) == ["foundation.left", "foundation.right"]


def test_a_refusal_while_undoing_parks_and_keeps_the_first_cause(begin: Begin, site: Path) -> None:
    run = drive_on(begin(trouble={"walls": "permanent", "undo/foundation": "permanent once"}))
    assert (run.state, run.direction, run.step) == ("parked", "undo", "foundation")
    assert (error_of(run)["step"], error_of(run)["cause"]["step"]) == ("foundation", "walls")
    control.retry(run, reason="again", actor=BOB)
    drive_on(run)
    assert (run.state, error_of(run)["step"], inventory(site)) == ("failed", "walls", [])


@pytest.mark.parametrize(("trouble", "code"), [("bug", "UNFORESEEN"), ("stale fence", "FENCE_BEHIND")])
def test_a_defect_of_ours_undoes_nothing(begin: Begin, site: Path, trouble: str, code: str) -> None:
    run = drive_on(begin(trouble={"walls": trouble}))
    assert (run.state, run.direction, error_of(run)["code"]) == ("parked", "do", code)
    assert inventory(site) == ["foundation.left", "foundation.right"]


def test_an_unforeseen_error_shows_its_place_and_no_row(begin: Begin) -> None:
    run = drive_on(begin(trouble={"walls": "bug"}))
    assert error_of(run)["detail"].startswith("ZeroDivisionError in _bug, line ")
    told = [str(run.error), *run.events.values_list("detail", flat=True), *run.steps.values_list("note", flat=True)]
    assert not [text for text in told if "4711" in text]


@pytest.mark.parametrize("step", STEPS)
def test_a_lost_connection_is_an_outage_not_a_defect(begin: Begin, step: str) -> None:
    run = begin(trouble={step: "lost connection"})
    drive_until_failed(run)
    assert (run.state, run.step, error_of(run)["code"]) == ("running", step, "DATABASE_UNREACHABLE")


def test_a_failed_atomic_step_leaves_no_row_behind(begin: Begin, acme: Tenant) -> None:
    run = begin(trouble={"count": "bug"})
    drive_on(run)
    assert (run.state, visits(acme)) == ("parked", 0)


def test_a_spent_slice_gives_the_run_back_at_the_next_boundary(begin: Begin) -> None:
    run = begin()
    drive(run, slice_s=0)
    assert (run.state, run.fence) == ("queued", None)
    drive(run, slice_s=0.000_1)
    assert (run.state, run.step, run.lease_until, run.crashes) == ("running", "survey", None, 0)
    assert drive_on(run).state == "succeeded"


def test_whoever_lost_the_run_while_a_body_ran_records_nothing(begin: Begin) -> None:
    run = drive(begin(trouble={"survey": "claimed"}))
    assert (run.step, run.steps.get(name="survey").state) == ("survey", StepState.STARTED)


def test_every_end_is_told_to_integrations_and_to_the_audit_log(begin: Begin, acme: Tenant) -> None:
    drive_on(begin())
    drive_on(begin(trouble={"foundation": "permanent"}))
    drive_on(begin(trouble={"foundation": "bug"}))
    told = Event.objects.filter(tenant=acme).order_by("sequence").values_list("type", flat=True)
    assert list(told) == ["operation.succeeded", "operation.failed", "operation.parked"]


def test_every_turn_is_an_event(begin: Begin) -> None:
    run = drive_on(begin(trouble={"foundation": "permanent"}))
    assert kinds(run) == [EventKind.STARTED, EventKind.FAILED, EventKind.TURNED_BACK, EventKind.ENDED]
