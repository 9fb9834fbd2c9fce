"""The one way to write a run that this worker has claimed. Whoever lost the claim writes nothing."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.db import connection, transaction
from django.db.models.functions import Now

from provisioning.models import Run, RunState


class LeaseLost(BaseException):
    """Another worker has claimed the run. A BaseException, so that no step's body can swallow it."""


def lease_s() -> float:
    """How long a claim lasts without renewal, in seconds."""
    return float(getattr(settings, "TENURE_LEASE_S", 30))


def fenced(run: Run, **changes: object) -> None:
    """Write a run as it was last read, then read it afresh. Raises LeaseLost when fence or state are others by now."""
    if not Run.objects.filter(pk=run.pk, fence=run.fence, state=run.state).update(**changes):
        raise LeaseLost(run.pk)
    run.refresh_from_db()


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
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('idle_in_transaction_session_timeout', %s, true) FROM provisioning_run"
            " WHERE id = %s AND fence = %s AND state = 'running' FOR NO KEY UPDATE",
            [f"{lease_s() * 1000:.0f}ms", run.pk, run.fence],
        )
        if cursor.fetchone() is None:
            raise LeaseLost(run.pk)
        run.refresh_from_db()  # what a person asked for since
        yield
