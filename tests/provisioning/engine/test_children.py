from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from django.db import transaction

from provisioning.engine import control
from provisioning.engine.children import Child, LockOfAncestor, counted, open_children, spawn
from provisioning.engine.start import start
from provisioning.engine.workflow import Again, Done, Outcome, Step, StepContext, Workflow
from provisioning.models import Queue, Run, RunState
from tests.provisioning.engine.building import BOB, House, inventory, put_up, take_down
from tests.provisioning.engine.driving import drive, drive_on, error_of, make_due


@dataclass(frozen=True)
class Street:
    sites: tuple[str, ...]
    lock: str = ""


def lay_out(ctx: StepContext) -> Outcome:
    lock = ctx.input.lock or None
    spawn(
        ctx,
        COTTAGE,
        [Child(target=site, input=House(site), lock_key=lock or f"site:{site}") for site in ctx.input.sites],
    )
    return Done()


def stop_building(ctx: StepContext) -> Outcome:
    return Again(timedelta(seconds=5)) if open_children(ctx) else Done()


def wait_for_all(ctx: StepContext) -> Outcome:
    states = counted(ctx)
    done = states.get(RunState.SUCCEEDED, 0)
    return Done() if done == len(ctx.input.sites) else Again(timedelta(seconds=5), note=f"{done} houses")


COTTAGE = Workflow(
    name="cottage",
    version=1,
    queue=Queue.OPERATIONS,
    input=House,
    steps=(
        Step(name="foundation", do=put_up, undo=take_down),
        Step(name="roof", do=put_up, undo=take_down),
    ),
)
STREET = Workflow(
    name="street",
    version=1,
    queue=Queue.OPERATIONS,
    input=Street,
    steps=(
        Step(name="lay out", do=lay_out, undo=stop_building),
        Step(name="wait for all", do=wait_for_all, changes_nothing=True),
    ),
)
WORKFLOWS = {workflow.key: workflow for workflow in (COTTAGE, STREET)}


@pytest.fixture
def sites(tmp_path: Path) -> list[Path]:
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
    return folders


def begin(sites: list[Path], lock: str = "") -> Run:
    with transaction.atomic():
        street = Street(tuple(map(str, sites)), lock)
        return start(STREET, input=street, actor=BOB, key=str(uuid4()), lock_key="street:1", priority=1)


@pytest.mark.usefixtures("control")
class TestChildren:
    def test_a_parent_ends_when_all_its_children_have(self, sites: list[Path]) -> None:
        run = drive_on(begin(sites), workflows=WORKFLOWS)
        assert run.state == "succeeded"
        assert list(run.children.values_list("state", flat=True)) == ["succeeded"] * 3
        assert all(len(inventory(site)) == 4 for site in sites)

    def test_spawning_again_makes_no_second_child(self, sites: list[Path]) -> None:
        run = begin(sites)
        drive(run, workflows=WORKFLOWS)
        Run.objects.filter(pk=run.pk).update(  # as after a crash between the spawning and its record
            state="running", owner="host:1", lease_until="2100-01-01T00:00Z"
        )
        run.refresh_from_db()
        lay_out(StepContext(run=run, row=run.steps.get(name="lay out"), input=STREET.load(run.input)))
        assert run.children.count() == 3

    def test_a_child_that_needs_its_parents_lock_is_refused(self, sites: list[Path]) -> None:
        run = drive(begin(sites, lock="street:1"), workflows=WORKFLOWS)
        assert (run.state, error_of(run)["code"]) == ("parked", "UNFORESEEN")
        assert LockOfAncestor.__name__ in error_of(run)["detail"]
        assert run.children.count() == 0

    def test_cancelling_a_parent_cancels_its_children_and_waits_for_their_undo(self, sites: list[Path]) -> None:
        run = begin(sites)
        drive(run, workflows={STREET.key: STREET})  # nobody drives cottages yet
        one = run.children.order_by("pk").first()
        assert one is not None
        Run.objects.filter(pk=one.pk).update(state="running", fence=999)  # begun, and waiting
        control.cancel(run, reason="no street", actor=BOB)
        states = sorted(run.children.values_list("state", flat=True))
        assert states == ["cancelled", "cancelled", "running"]
        drive(run, workflows={STREET.key: STREET})
        assert (run.state, run.direction) == ("running", "undo")
        drive(one, workflows={COTTAGE.key: COTTAGE})
        make_due(run)
        drive(run, workflows={STREET.key: STREET})
        one.refresh_from_db()
        assert (run.state, one.state, [inventory(site) for site in sites]) == ("cancelled", "cancelled", [[], [], []])

    def test_pausing_a_parent_holds_its_queued_children_until_it_is_resumed(self, sites: list[Path]) -> None:
        run = begin(sites)
        drive(run, workflows={STREET.key: STREET})
        control.pause(run, actor=BOB)
        drive(run, workflows=WORKFLOWS)
        assert set(run.children.values_list("state", flat=True)) == {"queued"}
        control.resume(run, actor=BOB)
        assert drive_on(run, workflows=WORKFLOWS).state == "succeeded"
