"""Whatever workers, time and people do, in any order: no run is ever without a way to its end. Over the real SQL."""

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from provisioning.engine import control
from provisioning.engine.claim import claim
from provisioning.engine.sweep import park_overdue
from provisioning.errors import PastPivot
from provisioning.models import Queue, Run, RunState, StepState
from tenants.errors import StateConflict
from tests.provisioning.engine.building import BOB, BUILD, SELL, WHOLE, WORKFLOWS, inventory
from tests.provisioning.engine.driving import Begin, drive, make_due

pytestmark = pytest.mark.long

ACTS: dict[str, Callable[..., None]] = {
    "pause": control.pause,
    "resume": control.resume,
    "cancel": control.cancel,
    "retry": control.retry,
    "skip": control.skip,
    "undo": control.undo,
}
WITHOUT_REASON = {"pause", "resume"}
TROUBLES = ["transient", "transient once", "permanent", "permanent once", "bug", "stale fence", "pause", "cancel"]
UNDO_TROUBLES = ["transient once", "permanent once", "bug"]
SOLD = ["foundation.left", "foundation.right", "move-in"]

troubles = st.dictionaries(st.sampled_from([s.name for s in BUILD.steps[:-1]]), st.sampled_from(TROUBLES), max_size=2)
undo_troubles = st.dictionaries(st.sampled_from(["undo/foundation", "undo/walls"]), st.sampled_from(UNDO_TROUBLES))


def ask(run: Run, verb: str) -> None:
    why = {} if verb in WITHOUT_REASON else {"reason": "the test wants it"}
    ACTS[verb](run, actor=BOB, **why)


class Engine(RuleBasedStateMachine):
    """People, workers and time act on runs in any order. The test hands in where to build, and how to begin."""

    runs = Bundle("runs")
    numbers = count()
    folder: ClassVar[Path]
    begin: ClassVar[Begin]

    def __init__(self) -> None:
        super().__init__()
        self.begun: dict[Any, Path] = {}

    @rule(target=runs, trouble=troubles, on_the_way_back=undo_troubles)
    def build(self, trouble: dict[str, str], on_the_way_back: dict[str, str]) -> Any:
        return self._begin(BUILD, {**trouble, **on_the_way_back})

    @rule(target=runs, trouble=st.sampled_from(["", *TROUBLES]), step=st.sampled_from(["foundation", "move in"]))
    def sell(self, step: str, trouble: str) -> Any:
        return self._begin(SELL, {step: trouble} if trouble not in {"", "cancel"} else {})

    def _begin(self, workflow: Any, trouble: dict[str, str]) -> Any:
        site = self.folder / f"lot {next(self.numbers)}"
        site.mkdir()
        run = type(self).begin(workflow, at=site, trouble=trouble, lock_key=str(site))
        self.begun[run.pk] = site
        return run.pk

    @rule(pk=runs)
    def wake(self, pk: Any) -> None:
        drive(Run.objects.get(pk=pk))

    @rule()
    def claim_and_die(self) -> None:
        claim(queue=Queue.OPERATIONS, known=WORKFLOWS)

    @rule(pk=runs)
    def let_time_pass(self, pk: Any) -> None:
        make_due(Run.objects.get(pk=pk))

    @rule(pk=runs)
    def miss_the_deadline(self, pk: Any) -> None:
        Run.objects.filter(pk=pk, finished_at=None).update(deadline_at="2000-01-01T00:00Z")
        park_overdue()

    @rule(pk=runs, verb=st.sampled_from(sorted(ACTS)))
    def act(self, pk: Any, verb: str) -> None:
        run = Run.objects.get(pk=pk)
        if verb in control.actions(run):
            ask(run, verb)
        else:
            with pytest.raises((StateConflict, PastPivot)):
                ask(run, verb)

    @invariant()
    def every_open_run_has_a_deadline_and_a_way_out(self) -> None:
        for run in Run.objects.filter(finished_at=None):
            assert run.deadline_at is not None
            waits_for_us = run.state in {RunState.QUEUED, RunState.RUNNING}
            assert waits_for_us or control.actions(run), (run.state, run.control)

    def teardown(self) -> None:
        for pk, site in self.begun.items():
            run = Run.objects.get(pk=pk)
            _lead_to_its_end(run)
            _judge(run, site)


def _lead_to_its_end(run: Run) -> None:
    """With offered actions alone; force-complete is left for what even those do not solve."""
    for turn in range(60):
        make_due(run)
        drive(run)
        if run.ended:
            return
        offered = control.actions(run)
        for verb in ("resume", "undo", "skip") if run.state in {"paused", "parked"} else ():
            if verb in offered:
                ask(run, verb)
                break
        else:
            if run.state == RunState.PARKED and turn >= 40:
                control.force_complete(run, as_state=RunState.FAILED, reason="the seller does not move", actor=BOB)
            elif run.state == RunState.PARKED:
                ask(run, "retry")
    raise AssertionError(f"{run.state} at {run.step} for ever: {control.actions(run)}")


def _judge(run: Run, site: Path) -> None:
    """The name of the end is true of the world."""
    if run.forced or run.steps.filter(state=StepState.SKIPPED).exists():
        return
    left_out = run.steps.filter(direction=run.direction).exclude(state=StepState.SUCCEEDED)
    assert run.fence is None or not left_out.exists(), "a step was left out"
    whole = WHOLE if run.workflow == BUILD.name else SOLD
    assert inventory(site) == (whole if run.state == RunState.SUCCEEDED else []), run.state


def test_from_every_state_offered_actions_lead_to_a_true_end(begin: Begin, tmp_path: Path) -> None:
    Engine.folder, Engine.begin = tmp_path, staticmethod(begin)
    run_state_machine_as_test(
        Engine,
        settings=settings(
            max_examples=12,
            stateful_step_count=12,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
