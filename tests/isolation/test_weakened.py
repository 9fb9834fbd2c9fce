"""Each attack can succeed: with its boundary weakened it does, and with the boundary restored it is refused again."""

from collections.abc import Callable

import pytest
from django.db import connections

from tenants.isolation.connections import alias_of
from tests.isolation.arena import POOLED, Arena, Place, plant, restore_bucket, stands
from tests.isolation.attack import Attack, leaks
from tests.isolation.table import ATTACKS
from tests.isolation.weakened.table import WEAKENINGS, WITHOUT
from tests.isolation.weakened.weakening import Weakening

BY_ID = {attack.id: attack for attack in ATTACKS}
ROWS = [
    pytest.param(weakening, BY_ID[attack], place, id=f"{attack}-{place}-{weakening.name.replace(' ', '-')}")
    for weakening in WEAKENINGS
    for place in Place
    for attack in weakening.lets_through
    if place in weakening.places
]


@pytest.mark.drawn(16)
@pytest.mark.parametrize(("weakening", "attack", "place"), ROWS)
def test_it_gets_through_a_weakened_boundary(
    weakening: Weakening, attack: Attack, place: Place, arena_of: Callable[[Place], Arena]
) -> None:
    arena = arena_of(place)
    try:
        assert attack.control(arena)
        with weakening.weaken(arena):
            found = leaks(attack, arena)
    finally:
        again(arena, arena_of)
    assert weakening.lets_through[attack.id] in {leak.shows for leak in found}, found
    assert leaks(attack, arena) == []
    plant(arena)


def again(arena: Arena, arena_of: Callable[[Place], Arena]) -> None:
    """New sessions, for an attack may have taken a role in one; and what it did to the neighbours of a pool undone."""
    for context in (arena.acme, arena.globex):
        connections[alias_of(context)].close()
        restore_bucket(context)
    for place in Place:  # who empties a cache does it to all, who opens a pool to all in it
        if place == arena.place or {place, arena.place} <= POOLED or not stands(arena_of(place)):
            plant(arena_of(place))


def test_every_attack_has_a_weakening_in_every_place() -> None:
    shown = {
        (attack, place) for weakening in WEAKENINGS for attack in weakening.lets_through for place in weakening.places
    }
    missing = {
        f"{attack.id} {place}" for attack in ATTACKS for place in attack.places if (attack.id, place) not in shown
    }
    assert missing == set(WITHOUT)
