"""Pages of a list that is in no table: whatever has an order that no two share, from a place in that order."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

SPOT = re.compile(r"([ab])((?:[0-9a-f]{2}){1,400})")  # a6163…: after or before what has this order, in hex

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Slice(Generic[T]):
    """One page. `first` is the number of its first, from 0; `next` and `previous` are cursors, None at the ends."""

    items: Sequence[T]
    first: int
    next: str | None
    previous: str | None


def slice_of(found: Sequence[T], *, by: Callable[[T], str], size: int, cursor: str | None = None) -> Slice[T]:
    """At most `size` of what is in the order of `by`. Raises ValueError for what is no cursor."""
    orders = [by(each) for each in found]
    side, order = _spot(cursor) if cursor is not None else ("a", "")
    first = bisect_right(orders, order) if side == "a" else max(bisect_left(orders, order) - size, 0)
    last = min(first + size, len(orders)) if side == "a" else bisect_left(orders, order)
    return Slice(
        items=found[first:last],
        first=first,
        next=_spelt("a", orders[last - 1]) if 0 < last < len(orders) else None,
        previous=_spelt("b", orders[first]) if 0 < first < len(orders) else None,
    )


def _spelt(side: str, order: str) -> str:
    return side + order.encode().hex()


def _spot(text: str) -> tuple[str, str]:
    if (match := SPOT.fullmatch(text)) is None:
        raise ValueError(text)
    return match[1], bytes.fromhex(match[2]).decode(errors="replace")
