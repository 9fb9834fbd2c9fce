"""How a benchmark speaks: a table for people, then one line of JSON for programs."""

import json
from collections.abc import Callable, Mapping, Sequence
from statistics import median

from tqdm import tqdm


def table(title: str, rows: Mapping[str, Sequence[float]], *, unit: str = "ms") -> None:
    """A line per row: how many were measured, and their least, middle and greatest time. `rows` are in seconds."""
    scale = {"s": 1, "ms": 1_000, "µs": 1_000_000}[unit]
    width = max(map(len, rows))
    print(f"\n{title}\n{'':{width}}  {'runs':>5} {'min':>9} {'median':>9} {'max':>9}  {unit}")
    for name, seconds in rows.items():
        low, middle, high = (scale * value for value in (min(seconds), median(seconds), max(seconds)))
        print(f"{name:{width}}  {len(seconds):>5} {low:>9.1f} {middle:>9.1f} {high:>9.1f}")


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """Of the medians, rounded to two places."""
    return round(median(above) / median(below), 2)


def line(figures: Mapping[str, float]) -> None:
    """The last line: JSON."""
    print(json.dumps(figures))


def parts(name: str, wanted: Sequence[str], part: Mapping[str, Callable[[], dict[str, float]]]) -> None:
    """Run the parts that are wanted, one after the other, and end with the line of what they gave."""
    figures: dict[str, float] = {}
    bar = tqdm(total=len(wanted), desc=name, unit="part", disable=None)
    for each in wanted:
        bar.set_description(each)
        figures |= part[each]()
        bar.update()
    bar.close()
    line(figures)
