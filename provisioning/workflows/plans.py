"""What a verb would do, shown before it does it: the very words that a person confirms and a digest binds."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import timedelta

from provisioning.engine.workflow import Workflow
from provisioning.errors import PlanChanged
from provisioning.models import Run, RunState
from tenants.findings import Finding

RUNS_LOOKED_AT = 50
FEWEST_RUNS = 3  # below this a guess would look like a measurement


@dataclass(frozen=True, slots=True)
class Estimate:
    """How long the last runs took, in seconds."""

    p50_s: float
    p95_s: float
    samples: int


@dataclass(frozen=True, slots=True)
class VerbPlan:
    """One verb on one subject. `blockers` are findings: while there is one, the verb would be refused.

    `needs_reason`: where a verb may or may not be explained, this time it must be.
    """

    verb: str
    subject: str
    steps: tuple[str, ...]
    creates: tuple[str, ...] = ()
    removes: tuple[str, ...] = ()
    pivot: str | None = None
    blockers: tuple[Finding, ...] = ()
    estimate: Estimate | None = None
    needs_reason: bool = False

    @property
    def digest(self) -> str:
        """`sha256:` and the hash of verb, subject, steps and effects; times and blockers are left out."""
        words = [self.verb, self.subject, self.steps, self.creates, self.removes, self.pivot]
        text = json.dumps(words, separators=(",", ":"), ensure_ascii=True)
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()

    def confirm(self, digest: str | None) -> None:
        """Raises PlanChanged when `digest`, given by whoever confirmed, is of another plan."""
        if digest is not None and digest != self.digest:
            raise PlanChanged


def shape_of(workflow: Workflow) -> tuple[tuple[str, ...], str | None]:
    """The names of a workflow's steps, and of its pivot."""
    pivot = next((step.name for step in workflow.steps if step.pivot), None)
    return tuple(step.name for step in workflow.steps), pivot


def estimate(workflow: Workflow) -> Estimate | None:
    """From the last runs that succeeded; None when there are too few to say."""
    ended = (
        Run.objects.filter(workflow=workflow.name, state=RunState.SUCCEEDED, started_at__isnull=False)
        .order_by("-created_at")
        .values_list("started_at", "finished_at")[:RUNS_LOOKED_AT]
    )
    seconds = sorted((finished - started) / timedelta(seconds=1) for started, finished in ended if started and finished)
    if len(seconds) < FEWEST_RUNS:
        return None
    return Estimate(
        p50_s=round(seconds[len(seconds) // 2], 1),
        p95_s=round(seconds[min(len(seconds) - 1, len(seconds) * 95 // 100)], 1),
        samples=len(seconds),
    )


__all__ = ["Estimate", "PlanChanged", "VerbPlan", "estimate", "shape_of"]
