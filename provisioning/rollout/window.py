"""When a rollout may work: after its start, and inside its weekly maintenance window. Pure, in UTC."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Any

from provisioning.rollout.errors import InvalidRollout

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
A_DAY = timedelta(days=1)


def opens(now: datetime, *, starts_at: datetime | None, window: Mapping[str, Any] | None) -> datetime | None:
    """When work may begin; None when it may now."""
    earliest = max(now, starts_at) if starts_at else now
    begin = _opening(window, earliest) if window else earliest
    return begin if begin > now else None


def checked_window(window: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The window as it may be kept. Raises InvalidRollout."""
    if window is None:
        return None
    if {*window} != {"days", "from", "to"} or not window["days"] or not {*window["days"]} <= {*DAYS}:
        raise InvalidRollout('A window is {"days": ["sat"], "from": "22:00", "to": "04:00"}.', field="window")
    if _time(window["from"]) == _time(window["to"]):
        raise InvalidRollout("The window closes when it opens.", field="window")
    return dict(window)


def _opening(window: Mapping[str, Any], at: datetime) -> datetime:
    """`at` itself if the window is open then, else when it opens next."""
    at = at.astimezone(UTC)
    begins, ends = _time(window["from"]), _time(window["to"])
    for offset in range(-1, len(DAYS) + 1):  # the one of yesterday may last until today
        day = at.date() + offset * A_DAY
        if DAYS[day.weekday()] not in window["days"]:
            continue
        opening = datetime.combine(day, begins, UTC)
        closing = datetime.combine(day + A_DAY if ends <= begins else day, ends, UTC)
        if at < closing:
            return max(at, opening)
    raise AssertionError("A window with a day opens within a week.")


def _time(text: object) -> time:
    try:
        return time.fromisoformat(str(text))
    except ValueError:
        raise InvalidRollout(f"{str(text)[:20]} is no time of day such as 22:00.", field="window") from None
