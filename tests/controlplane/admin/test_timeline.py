from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.admin.labels import Tone
from controlplane.admin.timeline import FOLDED, Scale, timeline
from provisioning.models import Direction, EventKind, Run, RunEvent, RunState, RunStep, StepState

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def step(
    position: int, state: StepState, began: float | None = None, ended: float | None = None, **more: Any
) -> RunStep:
    return RunStep(
        pk=position + 1 + 100 * (more.get("direction") == Direction.UNDO),
        position=position,
        name=f"step {position}",
        state=state,
        started_at=None if began is None else at(began),
        finished_at=None if ended is None else at(ended),
        **more,
    )


def failure(position: int, began: float, when: float) -> RunEvent:
    return RunEvent(
        step=f"step {position}", direction=Direction.DO, kind=EventKind.FAILED, began_at=at(began), at=at(when)
    )


def run(**fields: Any) -> Run:
    return Run(created_at=NOON, state=RunState.RUNNING, step="step 1", **fields)


def test_each_step_is_drawn_where_it_happened() -> None:
    drawn = timeline(run(), [step(0, StepState.SUCCEEDED, 0, 1), step(1, StepState.STARTED, 1)], [], now=at(4))
    first, second = (line.bars[0] for line in drawn.do)
    assert (first.left, first.width, first.tone) == (0, 0.25, Tone.GOOD)
    assert (second.left, second.width, second.tone) == (0.25, 0.75, Tone.BUSY)
    assert (drawn.do[1].current, drawn.do[1].took, drawn.length) == (True, timedelta(seconds=3), timedelta(seconds=4))


def test_a_step_that_has_not_begun_has_no_bar_and_no_duration() -> None:
    drawn = timeline(run(), [step(1, StepState.PENDING)], [], now=at(1))
    assert (drawn.do[0].bars, drawn.do[0].took, drawn.do[0].tries) == ((), None, 0)


def test_earlier_attempts_stay_visible_with_the_waits_between_them() -> None:
    failures = [failure(1, 0, 1), failure(1, 0, 3)]
    drawn = timeline(run(), [step(1, StepState.STARTED, 0, attempts=2)], failures, now=at(4))
    assert [(bar.kind, bar.tone) for bar in drawn.do[0].bars] == [
        ("work", Tone.BAD),
        ("wait", Tone.WAIT),
        ("mark", Tone.BAD),
        ("work", Tone.BUSY),
    ]
    assert drawn.do[0].tries == 3


def test_a_step_that_succeeded_at_last_ends_in_a_good_mark() -> None:
    drawn = timeline(run(), [step(1, StepState.SUCCEEDED, 0, 5, attempts=1)], [failure(1, 0, 1)], now=at(9))
    assert [(bar.kind, bar.tone) for bar in drawn.do[0].bars][-1] == ("mark", Tone.GOOD)


def test_a_step_that_failed_took_until_its_last_failure() -> None:
    drawn = timeline(
        run(), [step(1, StepState.FAILED, 0, attempts=2)], [failure(1, 0, 1), failure(1, 0, 7)], now=at(99)
    )
    assert drawn.do[0].took == timedelta(seconds=7)


def test_undo_is_a_lane_of_its_own_in_the_order_of_undoing() -> None:
    steps = [
        step(0, StepState.SUCCEEDED, 0, 1),
        step(1, StepState.FAILED, 1, 2),
        step(0, StepState.SUCCEEDED, 3, 4, direction=Direction.UNDO),
        step(1, StepState.SUCCEEDED, 2, 3, direction=Direction.UNDO),
    ]
    drawn = timeline(run(direction=Direction.UNDO), steps, [], now=at(4))
    assert [line.step.name for line in drawn.undo] == ["step 1", "step 0"]


def test_a_gap_of_more_than_a_fifth_is_folded_and_says_how_long_it_was() -> None:
    steps = [step(0, StepState.SUCCEEDED, 0, 1), step(1, StepState.SUCCEEDED, 601, 602)]
    drawn = timeline(run(), steps, [], now=at(602))
    assert [(fold.length, round(fold.width, 3)) for fold in drawn.folds] == [(timedelta(minutes=10), FOLDED)]
    assert drawn.do[0].bars[0].width == pytest.approx((1 - FOLDED) / 2)
    assert drawn.do[1].bars[0].left == pytest.approx((1 + FOLDED) / 2)


@given(st.lists(st.tuples(st.floats(0, 5_000), st.floats(0, 500)), min_size=1, max_size=20))
def test_the_order_of_moments_is_the_order_on_the_page(stretches: list[tuple[float, float]]) -> None:
    busy = [(at(begin), at(begin + length)) for begin, length in stretches]
    moments = sorted({moment for stretch in busy for moment in stretch})
    scale = Scale(moments[0], moments[-1], busy)
    places = [scale.place(moment) for moment in moments]
    assert all(-1e-9 <= place <= 1 + 1e-9 for place in places)
    assert all(later >= earlier - 1e-9 for earlier, later in pairwise(places))
    assert places[-1] == pytest.approx(1) or len(moments) == 1
