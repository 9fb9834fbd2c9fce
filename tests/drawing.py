"""A pytest plugin: of what is long each run of the tests draws a part, anew, by the seed that pytest-randomly prints.

`pytestmark = pytest.mark.long` draws some of a file's tests. `@pytest.mark.drawn(8)` keeps eight cases of a test with
parameters; `pytestmark = pytest.mark.drawn(1, among="…")` one of the files that say the same. TENURE_TESTS=all (`make
test-all`) keeps everything, and so does asking for files by name.
"""

import math
import os
import random
from collections import defaultdict
from collections.abc import Iterable
from typing import TypeVar

import pytest

EVERYTHING = os.environ.get("TENURE_TESTS") == "all"
OF_LONG_FILES = 0.3
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
    config.addinivalue_line("markers", "long: a file of whose tests each run draws some; see tests/drawing.py")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if EVERYTHING or config.args != config.getini("testpaths") or config.option.keyword:
        return
    left_out = {item for group, most, lots in _cases(items) for item in _not_drawn(config, group, most, lots)}
    left_out |= {
        item
        for file, lots in _long(item for item in items if item not in left_out)
        for item in _not_drawn(config, file, math.ceil(len(lots) * OF_LONG_FILES), lots)
    }
    config.hook.pytest_deselected(items=[item for item in items if item in left_out])
    items[:] = [item for item in items if item not in left_out]


def _cases(items: Iterable[pytest.Item]) -> Iterable[tuple[str, int, Lots]]:
    """Of the marker `drawn`: group, how many lots of it are drawn, and the lots."""
    groups: dict[tuple[str, int], Lots] = defaultdict(lambda: defaultdict(list))
    for item in items:
        if marker := item.get_closest_marker("drawn"):
            among = marker.kwargs.get("among")
            group, lot = (among, _file(item)) if among else (item.nodeid.partition("[")[0], item.nodeid)
            groups[group, marker.args[0]][lot].append(item)
    return [(group, most, lots) for (group, most), lots in groups.items()]


def _long(items: Iterable[pytest.Item]) -> Iterable[tuple[str, Lots]]:
    files: dict[str, Lots] = defaultdict(dict)
    for item in items:
        if item.get_closest_marker("long"):
            files[_file(item)][item.nodeid] = [item]
    return files.items()


def _file(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


def _not_drawn(config: pytest.Config, group: str, most: int, lots: Lots) -> list[pytest.Item]:
    """Every process of one run draws the same."""
    names = sorted(lots)
    drawn = random.Random(f"{config.getoption('randomly_seed')} {group}").sample(names, min(most, len(names)))
    return [item for name in names if name not in drawn for item in lots[name]]
