"""A pytest plugin: of what is long each run of the tests draws a part, anew, by the seed that pytest-randomly prints.

`@pytest.mark.drawn(8)` keeps eight cases of a parametrised test; `pytestmark = pytest.mark.drawn(1, among="…")` one of
the files that say the same. TENURE_TESTS=all (`make test-all`) keeps everything, and so does asking for files by name.
"""

import os
import random
from collections import defaultdict
from collections.abc import Iterable
from typing import TypeVar

import pytest

EVERYTHING = os.environ.get("TENURE_TESTS") == "all"
T = TypeVar("T")


def half_of(cases: Iterable[T]) -> list[T]:
    """Of what one test walks through: another half in each run, by the seed that pytest-randomly gives each test."""
    every = list(cases)
    drawn = set(range(len(every)) if EVERYTHING else random.sample(range(len(every)), (len(every) + 1) // 2))
    return [case for number, case in enumerate(every) if number in drawn]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "drawn(most, among=None): so many cases, or files; see tests/drawing.py")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if EVERYTHING or config.args != config.getini("testpaths") or config.option.keyword:
        return
    lots: dict[tuple[str, int], dict[str, list[pytest.Item]]] = defaultdict(lambda: defaultdict(list))
    for item in items:
        if marker := item.get_closest_marker("drawn"):
            among = marker.kwargs.get("among")
            group, lot = (
                (among, item.nodeid.partition("::")[0]) if among else (item.nodeid.partition("[")[0], item.nodeid)
            )
            lots[group, marker.args[0]][lot].append(item)
    left_out = {item for (group, most), each in lots.items() for item in _not_drawn(config, group, most, each)}
    config.hook.pytest_deselected(items=[item for item in items if item in left_out])
    items[:] = [item for item in items if item not in left_out]


def _not_drawn(config: pytest.Config, group: str, most: int, lots: dict[str, list[pytest.Item]]) -> list[pytest.Item]:
    """Every process of one run draws the same."""
    names = sorted(lots)
    drawn = random.Random(f"{config.getoption('randomly_seed')} {group}").sample(names, min(most, len(names)))
    return [item for name in names if name not in drawn for item in lots[name]]
