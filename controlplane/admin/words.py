"""Durations and sizes as people read them."""

from datetime import timedelta

NOTHING = "–"  # noqa: RUF001  an en dash, as printed tables have it
MINUTE, HOUR, DAY = 60, 3600, 86_400
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


def ago(length: timedelta) -> str:
    """`just now`, `12 s ago`, `3 min ago`, `in 4 h`: the largest unit alone, as ops.js counts it on."""
    seconds = int(length.total_seconds())
    if abs(seconds) < 5:  # noqa: PLR2004  nobody acts on less
        return "just now"
    size = abs(seconds)
    unit, divisor = next(
        (pair for pair in (("s", 1), ("min", MINUTE), ("h", HOUR)) if size < pair[1] * (24 if pair[0] == "h" else 60)),
        ("d", DAY),
    )
    return f"{size // divisor} {unit} ago" if seconds > 0 else f"in {size // divisor} {unit}"


def size(count: int) -> str:
    """`512 bytes`, `10 GiB`."""
    amount, unit = float(count), 0
    while amount >= 1024 and unit < len(UNITS) - 1:  # noqa: PLR2004  1 KiB
        amount, unit = amount / 1024, unit + 1
    return f"{amount:.1f} {UNITS[unit]}".replace(".0 ", " ")


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large} {large_unit} {small} {small_unit}" if small else f"{large} {large_unit}"
