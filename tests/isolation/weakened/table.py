"""Every weakening, and the attacks that have none."""

from tests.isolation.weakened import database
from tests.isolation.weakened.weakening import Weakening

WEAKENINGS: tuple[Weakening, ...] = (*database.WEAKENINGS,)
WITHOUT: dict[str, str] = {}
"""Attacks by id and place that no weakening makes succeed, and why."""
