"""The one way to write a run that this worker has claimed. Whoever lost the claim writes nothing."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.db import transaction
from django.db.models import Model
from django.db.models.functions import Now

from provisioning.engine import rows
from provisioning.models import Run, RunState


class LeaseLost(BaseException):
    """Another worker has claimed the run. A BaseException, so that no step's body can swallow it."""


def lease_s() -> float:
    """How long a claim lasts without renewal, in seconds."""
    return float(getattr(settings, "TENURE_LEASE_S", 30))


def fenced(run: Run, *then: tuple[Model, rows.Changes], **changes: object) -> None:
    """Write a run as it was last read, then read it afresh, and write `then` in the same statement.

    Raises LeaseLost when fence or state are others by now.
    """
    holds = (run.fence, run.state)
    if not rows.written(run, "fence IS NOT DISTINCT FROM %s AND state = %s", holds, changes, then=then):
        raise LeaseLost(run.pk)


def unhindered(run: Run, *then: tuple[Model, rows.Changes], **changes: object) -> bool:
    """The same, in one go, or first in a transaction: it holds the run's row then, as fenced_transaction does.

    False, and nothing is written or held, if the claim is lost, or a person wants something of the run.
    """
    free = "fence = %s AND state = 'running' AND control IS NULL"
    return rows.written(run, free, (run.fence,), changes, then=then, idle_s=lease_s())


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
        hold(run)
        yield


def hold(run: Run) -> None:
    """Lock the run's row; what a person asked for since comes with the lock. Raises LeaseLost."""
    if not rows.locked(run, "fence = %s AND state = 'running'", (run.fence,), idle_s=lease_s()):
        raise LeaseLost(run.pk)
