from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from provisioning.rollout.errors import InvalidRollout
from provisioning.rollout.window import checked_window, opens

NIGHT = {"days": ["sat"], "from": "22:00", "to": "04:00"}
NOON = {"days": ["mon", "thu"], "from": "12:00", "to": "13:00"}


def at(day: int, hour: int, minute: int = 0) -> datetime:
    """In the week that begins on Monday, 2 November 2026."""
    return datetime(2026, 11, 1 + day, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(
    ("window", "now", "opening"),
    [
        (NIGHT, at(6, 21, 59), at(6, 22)),
        (NIGHT, at(6, 22), None),
        (NIGHT, at(7, 3, 59), None),  # Sunday, in the night that began on Saturday
        (NIGHT, at(7, 4), at(13, 22)),
        (NIGHT, at(1, 3), at(6, 22)),
        (NOON, at(1, 12, 30), None),
        (NOON, at(1, 13), at(4, 12)),
        (NOON, at(5, 0), at(8, 12)),
        (None, at(1, 0), None),
    ],
)
def test_a_window_opens_weekly(window: dict[str, Any] | None, now: datetime, opening: datetime | None) -> None:
    assert opens(now, starts_at=None, window=window) == opening


def test_a_start_inside_the_window_is_when_it_begins() -> None:
    assert opens(at(1, 9), starts_at=at(6, 23), window=NIGHT) == at(6, 23)
    assert opens(at(1, 9), starts_at=at(2, 9), window=None) == at(2, 9)
    assert opens(at(3, 9), starts_at=at(2, 9), window=None) is None


def test_the_window_is_in_utc_wherever_the_clock_is() -> None:
    ahead = timezone(timedelta(hours=5))
    assert opens(at(6, 22).astimezone(ahead), starts_at=None, window=NIGHT) is None


@pytest.mark.parametrize(
    "window",
    [
        {"days": [], "from": "22:00", "to": "04:00"},
        {"days": ["someday"], "from": "22:00", "to": "04:00"},
        {"days": ["sat"], "from": "22", "to": "24:30"},
        {"days": ["sat"], "from": "22:00", "to": "22:00"},
        {"days": ["sat"], "from": "22:00"},
    ],
)
def test_a_window_that_never_opens_is_refused(window: dict[str, Any]) -> None:
    with pytest.raises(InvalidRollout):
        checked_window(window)
