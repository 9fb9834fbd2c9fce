"""Every attack in every place it applies to, with its control before and after. The table is in `table.py`."""

from collections.abc import Callable

import pytest

from tests.isolation.arena import Arena, Place, plant, state_of
from tests.isolation.attack import Attack, leaks
from tests.isolation.table import ATTACKS

pytestmark = pytest.mark.long

ROWS = [
    pytest.param(attack, place, id=f"{attack.id}-{place}")
    for place in Place
    for attack in ATTACKS
    if place in attack.places
]


@pytest.mark.parametrize(("attack", "place"), ROWS)
def test_it_is_refused(attack: Attack, place: Place, arena_of: Callable[[Place], Arena]) -> None:
    arena = arena_of(place)
    before = [state_of(context) for context in (arena.acme, arena.globex)]
    try:
        assert attack.control(arena), "not measured: acme does not reach its own"
        assert leaks(attack, arena) == []
        assert attack.control(arena), "not measured: acme does not reach its own any more"
    finally:
        if [state_of(context) for context in (arena.acme, arena.globex)] != before:
            plant(arena)
