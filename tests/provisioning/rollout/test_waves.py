from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from provisioning.rollout.errors import InvalidRollout
from provisioning.rollout.waves import checked_waves, numbers

WAVES = st.lists(
    st.fixed_dictionaries({"count": st.integers(1, 500)}) | st.fixed_dictionaries({"percent": st.integers(1, 100)}),
    max_size=8,
).map(lambda waves: [*waves, {"percent": 100}])


@given(total=st.integers(0, 2_000), canary=st.integers(0, 20), waves=WAVES)
@example(total=100, canary=0, waves=[{"percent": 50}, {"percent": 20}, {"percent": 100}])
def test_every_target_has_one_wave_and_none_goes_back(total: int, canary: int, waves: list[dict[str, int]]) -> None:
    canary = min(canary, total)
    found = numbers(total, canary=canary, waves=waves)
    assert len(found) == total
    assert found == sorted(found)
    assert found[:canary] == [0] * canary
    assert 0 not in found[canary:]
    assert max(found, default=0) <= len(waves)


@pytest.mark.parametrize(
    ("total", "waves", "sizes"),
    [
        (100, [{"count": 5}, {"percent": 10}, {"percent": 100}], [2, 5, 3, 90]),
        (7, [{"count": 5}, {"percent": 10}, {"percent": 100}], [2, 5]),
        (12, [{"percent": 1}, {"percent": 100}], [2, 0, 10]),
        (3, [{"percent": 100}], [2, 1]),
        (9, [{"count": 1}, {"count": 2}, {"count": 1}, {"percent": 90}, {"percent": 100}], [2, 1, 2, 1, 3]),
    ],
)
def test_a_count_is_the_next_so_many_and_a_share_is_of_all(
    total: int, waves: list[dict[str, int]], sizes: list[int]
) -> None:
    found = numbers(total, canary=2, waves=waves)
    assert [found.count(wave) for wave in range(len(sizes))] == sizes


@pytest.mark.parametrize(
    "waves",
    [
        [{"count": 5}],
        [{"percent": 50}],
        [{"count": 0}, {"percent": 100}],
        [{"percent": 101}, {"percent": 100}],
        [{"count": True}, {"percent": 100}],
        [{"count": 5, "percent": 10}, {"percent": 100}],
        [{"share": 5}, {"percent": 100}],
        [{"count": "5"}, {"percent": 100}],
        [{}, {"percent": 100}],
    ],
)
def test_waves_that_would_leave_somebody_out_are_refused(waves: list[dict[str, Any]]) -> None:
    with pytest.raises(InvalidRollout):
        checked_waves(waves)


def test_without_waves_all_go_at_once() -> None:
    assert checked_waves([]) == [{"percent": 100}]
