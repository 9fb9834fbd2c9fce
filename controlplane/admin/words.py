"""Durations and sizes as people read them."""

from datetime import timedelta

NOTHING = "–"  # noqa: RUF001  an en dash, as printed tables have it
MINUTE, HOUR, DAY = 60, 3600, 86_400
JUST_NOW = timedelta(seconds=5)  # nobody acts on less
UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


def duration(length: timedelta | float | None) -> str:
    """`0.12 s`, `4.1 s`, `3 min 12 s`, `2 h 5 min`, `3 d 4 h`; a dash for None. Never negative."""
    if length is None:
        return NOTHING
    seconds = max(length.total_seconds() if isinstance(length, timedelta) else length, 0.0)
    if seconds < MINUTE:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s".replace(".0 s", " s")
    whole = int(seconds)
    if whole < HOUR:
        return _two(whole // MINUTE, "min", whole % MINUTE, "s")
    if whole < DAY:
        return _two(whole // HOUR, "h", whole % HOUR // MINUTE, "min")
    return _two(whole // DAY, "d", whole % DAY // HOUR, "h")


def brief(length: timedelta) -> str:
    """`12 s`, `3 min`, `4 h`, `2 d`: the largest unit alone."""
    seconds = abs(int(length.total_seconds()))
    for unit, divisor, end in (("s", 1, MINUTE), ("min", MINUTE, HOUR), ("h", HOUR, DAY)):
        if seconds < end:
            return f"{seconds // divisor} {unit}"
    return f"{seconds // DAY} d"


def ago(length: timedelta) -> str:
    """`just now`, `12 s ago`, `in 4 h`, as ops.js counts it on."""
    if abs(length) < JUST_NOW:
        return "just now"
    return f"{brief(length)} ago" if length > timedelta() else f"in {brief(length)}"


def size(count: int) -> str:
    """`512 bytes`, `10 GiB`."""
    amount, unit = float(count), 0
    while amount >= 1024 and unit < len(UNITS) - 1:  # noqa: PLR2004  1 KiB
        amount, unit = amount / 1024, unit + 1
    return f"{amount:.1f} {UNITS[unit]}".replace(".0 ", " ")


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large} {large_unit} {small} {small_unit}" if small else f"{large} {large_unit}"
