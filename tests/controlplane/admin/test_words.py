from datetime import timedelta

import pytest

from controlplane.admin.redaction import BLANK, redacted
from controlplane.admin.words import ago, duration, size


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.117, "0.12 s"), (4, "4 s"), (4.12, "4.1 s"), (192, "3 min 12 s"), (7500, "2 h 5 min"), (273_600, "3 d 4 h")],
)
def test_a_duration_reads_like_one(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_a_duration_is_never_negative() -> None:
    assert duration(timedelta(seconds=-3)) == "0.00 s"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(2, "just now"), (59, "59 s ago"), (61, "1 min ago"), (-7300, "in 2 h"), (200_000, "2 d ago")],
)
def test_relative_times_name_the_largest_unit(seconds: int, words: str) -> None:
    assert ago(timedelta(seconds=seconds)) == words


def test_sizes_are_binary() -> None:
    assert (size(512), size(10 * 1024**3), size(1536)) == ("512 bytes", "10 GiB", "1.5 KiB")


def test_what_is_named_like_a_secret_is_blanked_at_any_depth() -> None:
    shown = redacted({"bucket": "t-1", "role": {"password": "p", "name": "t_1"}, "list": [{"session_token": "x"}]})
    assert shown == {"bucket": "t-1", "role": {"password": BLANK, "name": "t_1"}, "list": [{"session_token": BLANK}]}
