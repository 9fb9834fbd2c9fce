"""Every weakening, and the attacks that have none."""

from tests.isolation.weakened import database, kept, sessions, web
from tests.isolation.weakened.weakening import Weakening

WEAKENINGS: tuple[Weakening, ...] = (*database.WEAKENINGS, *sessions.WEAKENINGS, *web.WEAKENINGS, *kept.WEAKENINGS)
WITHOUT: dict[str, str] = {}
"""Attacks by id and place that no weakening makes succeed, and why."""
