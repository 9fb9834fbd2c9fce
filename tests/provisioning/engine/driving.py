"""Drive runs of the engine's tests in this process, and let time pass in their rows."""

from collections.abc import Callable
from typing import Any

from provisioning.engine.drive import advance
from provisioning.engine.workflow import Workflows
from provisioning.models import Queue, Run
from tests.provisioning.engine.building import WORKFLOWS

Begin = Callable[..., Run]


def drive(run: Run, *, workflows: Workflows = WORKFLOWS, slice_s: float = 20) -> Run:
    """One wake-up of a worker in this process, then the run as it is."""
    advance(queue=Queue.OPERATIONS, workflows=workflows, slice_s=slice_s)
    run.refresh_from_db()
    return run


def error_of(run: Run) -> dict[str, Any]:
    """The run's error, which must be there."""
    assert run.error is not None
    return dict(run.error)


def make_due(run: Run) -> None:
    """Time passes: what the run waits for comes now, and a lease left by a dead worker lapses."""
    Run.objects.filter(pk=run.pk, lease_until=None).update(run_at="2000-01-01T00:00Z")
    Run.objects.filter(pk=run.pk, lease_until__isnull=False).update(lease_until="2000-01-01T00:00Z")


def drive_on(run: Run, *, workflows: Workflows = WORKFLOWS) -> Run:
    """Wake-ups and time until nothing goes on by itself."""
    for _turn in range(60):
        drive(run, workflows=workflows)
        if run.state not in {"queued", "running"}:
            return run
        make_due(run)
    raise AssertionError(f"{run} does not come to rest: {run.state} at {run.step}")
