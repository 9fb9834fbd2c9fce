"""Which target belongs to which wave. Pure: numbers in, numbers out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

from provisioning.rollout.errors import InvalidRollout

CANARY = 0
ALL_AT_ONCE: list[dict[str, int]] = [{"percent": 100}]
MOST_WAVES = 50
WHOLE = 100


def numbers(total: int, *, canary: int, waves: Sequence[Mapping[str, Any]]) -> list[int]:
    """The wave of each of `total` targets, of which the first `canary` are wave 0.

    `{"count": n}` takes the next n; `{"percent": n}` goes on until n percent of all are through. The last is 100.
    """
    ends = [canary]
    for wave in waves:
        through = ends[-1]
        ends.append(min(total, through + wave["count"] if "count" in wave else max(through, _share(total, wave))))
    return [
        number for number, (begin, end) in enumerate(zip([0, *ends], ends, strict=False)) for _ in range(begin, end)
    ]


def checked_waves(waves: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The waves as they may be kept. Raises InvalidRollout: each has one of count and percent, and the last is 100."""
    if len(waves) > MOST_WAVES:
        raise InvalidRollout(f"At most {MOST_WAVES} waves.", field="waves")
    for wave in waves:
        unit, size = next(iter(wave.items())) if len(wave) == 1 else ("", 0)
        if unit not in {"count", "percent"} or not _is_size(size, most=WHOLE if unit == "percent" else None):
            raise InvalidRollout('A wave is {"count": 5} or {"percent": 10}.', field="waves")
    if waves and waves[-1] != {"percent": WHOLE}:
        raise InvalidRollout('The last wave is {"percent": 100}: otherwise some would never be reached.', field="waves")
    return [dict(wave) for wave in waves] or ALL_AT_ONCE


def _is_size(size: object, *, most: int | None) -> bool:
    return isinstance(size, int | float) and not isinstance(size, bool) and size > 0 and (most is None or size <= most)


def _share(total: int, wave: Mapping[str, Any]) -> int:
    percent: float = wave["percent"]
    return ceil(total * percent / WHOLE)
