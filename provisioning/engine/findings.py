"""What is wrong with the work that is open, read from the rows: nothing waits in silence."""

from collections.abc import Iterator
from datetime import timedelta

from django.db.models import Count, Q
from django.db.models.functions import Now

from provisioning.engine.workflow import Workflows
from provisioning.models import Queue, QueuePulse, Run, RunState, RunStep, StepState
from tenants.findings import Finding, Severity

SILENT_AFTER = timedelta(seconds=60)


def unlisted(workflows: Workflows) -> list[tuple[str, int, int]]:
    """(workflow, version, open runs) of each version in use that this process has no code for."""
    in_use = Run.objects.filter(finished_at=None).values_list("workflow", "version").annotate(Count("pk"))
    return [(name, version, number) for name, version, number in in_use if (name, version) not in workflows]


def findings(workflows: Workflows) -> Iterator[Finding]:
    """Everything open that needs a look: unknown versions, silent queues, runs past their deadline, parked, forced."""
    for name, version, number in unlisted(workflows):
        yield Finding(
            "run.unknown_version",
            Severity.ERROR,
            f"{name} {version}",
            f"{number} open operations need a version of this workflow that is not installed.",
            "Deploy a release that lists it, and keep it listed until they have ended.",
        )
    yield from _silent_pools()
    for run in Run.objects.filter(state=RunState.PARKED).order_by("created_at"):
        code = (run.error or {}).get("code", "")
        yield Finding(
            "run.parked",
            Severity.CRITICAL if _late(run) else Severity.ERROR,
            run.public_id,
            f"{run.workflow} is parked at step {run.step!r}: {code}.",
            "Retry, skip or undo it.",
        )
    for run in Run.objects.filter(deadline_at__lt=Now(), state__in=[RunState.QUEUED, RunState.PAUSED]):
        yield Finding(
            "run.stalled",
            Severity.WARNING,
            run.public_id,
            f"{run.workflow} has been {run.state} past its deadline.",
            "Look whether workers run and limits have room; or resume it, or cancel it.",
        )
    for run in Run.objects.filter(forced=True).order_by("finished_at"):
        yield Finding(
            "run.forced",
            Severity.WARNING,
            run.public_id,
            f"{run.workflow} was called {run.state} by a person.",
            "Verify the tenant's resources.",
        )
    for row in RunStep.objects.filter(state=StepState.SKIPPED).select_related("run"):
        yield Finding(
            "run.skipped_step",
            Severity.WARNING,
            row.run.public_id,
            f"Step {row.name!r} of {row.run.workflow} was skipped.",
            "Verify the tenant's resources.",
        )


def _silent_pools() -> Iterator[Finding]:
    heard = set(QueuePulse.objects.filter(looked_at__gt=Now() - SILENT_AFTER).values_list("queue", flat=True))
    for queue in Queue:
        if queue not in heard:
            yield Finding(
                "queue.silent",
                Severity.ERROR,
                queue,
                "Nobody has looked for work of this queue for a minute.",
                "Start a worker for its queue; see whether the sweeper runs.",
            )


def _late(run: Run) -> bool:
    return Run.objects.filter(Q(pk=run.pk), deadline_at__lt=Now()).exists()
