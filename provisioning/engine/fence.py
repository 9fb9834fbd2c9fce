"""The one way to write a run that this worker has claimed. Whoever lost the claim writes nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from weakref import WeakKeyDictionary

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from provisioning.engine import rows
from provisioning.models import Run, RunState, RunStep


class LeaseLost(BaseException):
    """Another worker has claimed the run. A BaseException, so that no step's body can swallow it."""


def lease_s() -> float:
    """How long a claim lasts without renewal, in seconds."""
    return float(getattr(settings, "TENURE_LEASE_S", 30))


def fenced(run: Run, **changes: object) -> None:
    """Write a run as it was last read, then read it afresh. Raises LeaseLost when fence or state are others by now."""
    fenced_beside(run, changes, None)


def fenced_beside(run: Run, changes: dict[str, object], beside: tuple[RunStep, rows.Changes] | None) -> None:
    """The same, and another row in the same statement."""
    changes = {**_ahead.pop(run, {}), **changes}
    holds = (run.fence, run.state)
    if not rows.written(run, "fence IS NOT DISTINCT FROM %s AND state = %s", holds, changes, beside=beside):
        raise LeaseLost(run.pk)


def fenced_with_the_next(run: Run, **changes: object) -> None:
    """Change the run here, and its row by the next write in this transaction, which needs no statement of its own."""
    for name, value in changes.items():
        if not isinstance(value, timedelta):
            setattr(run, name, value)
    _ahead[run] = {**_ahead.get(run, {}), **changes}


_ahead: WeakKeyDictionary[Run, dict[str, object]] = WeakKeyDictionary()


def checked(run: Run) -> None:
    """Raises LeaseLost unless this worker's claim of the run is good now."""
    if not Run.objects.filter(pk=run.pk, fence=run.fence, state=RunState.RUNNING, lease_until__gt=Now()).exists():
        raise LeaseLost(run.pk)


@contextmanager
def fenced_transaction(run: Run) -> Iterator[None]:
    """A transaction that holds the run's row, so that nobody can claim the run before it commits.

    The row is locked first, in every transaction of the engine: run, then step, then whatever else, or two of them
    could wait for each other. A worker frozen in here would keep its locks; PostgreSQL ends its session instead.
    """
    with transaction.atomic(durable=True):
        # What a person asked for since comes with the lock.
        if not rows.locked(run, "fence = %s AND state = 'running'", (run.fence,), idle_s=lease_s()):
            raise LeaseLost(run.pk)
        _ahead.pop(run, None)  # what an earlier transaction did not come to write
        yield
        if run in _ahead:
            fenced(run)
