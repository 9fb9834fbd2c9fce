"""How long a step may go on without progress before it counts as at a standstill: one rule for API and admin."""

from datetime import timedelta

TIMES_USUAL = 3
SHORTEST = timedelta(seconds=30)  # a step that usually takes 50 ms is not at a standstill after 150


def patience(usually: timedelta) -> timedelta:
    """For a step that usually takes so long."""
    return max(TIMES_USUAL * usually, SHORTEST)
