from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning.rollout.budget import CLASSES, Budget, Toll
from provisioning.rollout.errors import InvalidRollout

FAILED = st.dictionaries(st.sampled_from(CLASSES), st.integers(0, 50))


@given(failed=FAILED, count=st.integers(0, 100))
def test_a_count_is_kept_to_the_last_one(failed: dict[str, int], count: int) -> None:
    toll = Toll(failed)
    assert bool(Budget(count=count).breach(toll)) == (sum(failed.values()) > count)


@given(failed=FAILED, budget_class=st.sampled_from(CLASSES), most=st.integers(0, 60))
def test_a_class_has_a_budget_of_its_own(failed: dict[str, int], budget_class: str, most: int) -> None:
    breach = Budget(classes={budget_class: most}).breach(Toll(failed))
    assert bool(breach) == (failed.get(budget_class, 0) > most)
    assert budget_class in breach or not breach


@given(failed=st.integers(0, 60), size=st.integers(1, 60), percent=st.integers(0, 100))
def test_a_share_is_of_the_wave(failed: int, size: int, percent: int) -> None:
    toll = Toll({"other": failed}, failed_in_wave=failed, wave_size=size)
    assert bool(Budget(percent=percent).breach(toll)) == (failed / size * 100 > percent + 1e-9)


@given(failed=FAILED, budget_class=st.sampled_from(CLASSES))
def test_one_failure_more_never_mends_a_breach(failed: dict[str, int], budget_class: str) -> None:
    toll, budget = Toll(failed, 1, 10), Budget(count=3, percent=20, classes={"drift": 0})
    assert toll.and_one(budget_class).total == toll.total + 1
    assert budget.breach(toll.and_one(budget_class)) or not budget.breach(toll)


def test_who_says_nothing_allows_nothing() -> None:
    assert Budget.of({}).breach(Toll({"other": 1})) == "1 targets failed; the budget is 0."
    assert not Budget.of({}).breach(Toll({}))


@pytest.mark.parametrize(
    "kept",
    [
        {"count": -1},
        {"count": 1.5},
        {"percent": 101},
        {"classes": {"weather": 1}},
        {"share": 3},
        {"classes": {"drift": -1}},
    ],
)
def test_a_budget_that_means_nothing_is_refused(kept: dict[str, Any]) -> None:
    with pytest.raises(InvalidRollout):
        Budget.of(kept)
