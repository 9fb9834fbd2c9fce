"""A pytest plugin: of what is long each run of the tests draws a part, anew, by the seed that pytest-randomly prints.

`pytest.mark.long` is for tests that take seconds: of all of them together a run draws some. `@pytest.mark.drawn(8)`
keeps eight cases of a test with parameters; `pytestmark = pytest.mark.drawn(1, among="…")` one of the files that say
the same. TENURE_TESTS=all (`make test-all`) keeps everything, and so does asking for files by name.

What takes longest begins first, in each process: one that began last would be waited for by the others.
"""

import math
import os
import random
from collections import defaultdict
from collections.abc import Iterable
from typing import TypeVar

import pytest

EVERYTHING = os.environ.get("TENURE_TESTS") == "all"
OF_LONG_ONES = 0.15
LONG = ("long", "crash", "journey", "wagtail")  # markers
T = TypeVar("T")

Lots = dict[str, list[pytest.Item]]
"""What is drawn or left out together, by its name."""


def half_of(cases: Iterable[T]) -> list[T]:
    """Of what one test walks through: another half in each run, by the seed that pytest-randomly gives each test."""
    every = list(cases)
    drawn = set(range(len(every)) if EVERYTHING else random.sample(range(len(every)), (len(every) + 1) // 2))
    return [case for number, case in enumerate(every) if number in drawn]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "drawn(most, among=None): so many cases, or files; see tests/drawing.py")
    config.addinivalue_line("markers", "long: takes seconds, and each run draws some of them; see tests/drawing.py")
    config.pluginmanager.register(LongestFirst())


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if EVERYTHING or config.args != config.getini("testpaths") or config.option.keyword:
        return
    left_out = {item for group, most, lots in _cases(items) for item in _not_drawn(config, group, most, lots)}
    long: Lots = {item.nodeid: [item] for item in items if item.get_closest_marker("long") and item not in left_out}
    left_out |= {*_not_drawn(config, "long", math.ceil(len(long) * OF_LONG_ONES), long)}
    config.hook.pytest_deselected(items=[item for item in items if item in left_out])
    items[:] = [item for item in items if item not in left_out]


class LongestFirst:
    """Orders what is left when every other plugin has had its say: xdist gives each process as long a piece of it."""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        processes = getattr(config, "workerinput", {}).get("workercount", 1)
        is_long = {item: any(item.get_closest_marker(name) for name in LONG) for item in items}
        long, short = ([item for item in items if is_long[item] is wanted] for wanted in (True, False))
        items[:] = [
            item
            for number in range(processes)
            for piece in (_piece(long, number, processes), _piece(short, number, processes))
            for item in piece
        ]


def _cases(items: Iterable[pytest.Item]) -> Iterable[tuple[str, int, Lots]]:
    """Of the marker `drawn`: group, how many lots of it are drawn, and the lots."""
    groups: dict[tuple[str, int], Lots] = defaultdict(lambda: defaultdict(list))
    for item in items:
        if marker := item.get_closest_marker("drawn"):
            among = marker.kwargs.get("among")
            group, lot = (among, _file(item)) if among else (item.nodeid.partition("[")[0], item.nodeid)
            groups[group, marker.args[0]][lot].append(item)
    return [(group, most, lots) for (group, most), lots in groups.items()]


def _file(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


def _not_drawn(config: pytest.Config, group: str, most: int, lots: Lots) -> list[pytest.Item]:
    """Every process of one run draws the same."""
    names = sorted(lots)
    drawn = random.Random(f"{config.getoption('randomly_seed')} {group}").sample(names, min(most, len(names)))
    return [item for name in names if name not in drawn for item in lots[name]]


def _piece(items: list[pytest.Item], number: int, pieces: int) -> list[pytest.Item]:
    return items[number * len(items) // pieces : (number + 1) * len(items) // pieces]
