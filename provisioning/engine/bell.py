"""The wake-up: one assignable function. A ring may be lost, late or doubled; the sweeper rings again."""

from collections.abc import Callable

from django.db import transaction

from provisioning.models import Queue


def silent(_pool: Queue) -> None:
    """Nobody listens: the sweeper finds the work."""


ring: Callable[[Queue], None] = silent


def ring_after_commit(queue: Queue) -> None:
    """Ring once the caller's transaction is there to be seen. A failed ring must not fail the request."""
    transaction.on_commit(lambda: ring(queue), robust=True)
