"""What each verb of an operation would do, told from its rows, for the page that asks to confirm it."""

from __future__ import annotations

from collections.abc import Sequence

from provisioning import lifecycle
from provisioning.models import Direction, Resource, Run, RunState, RunStep, StepState
from provisioning.workflows.plans import VerbPlan
from tenants.findings import Finding, Severity


def plan_pause(run: Run) -> VerbPlan:
    return _plan(run, "operation.pause", ["stop at the next step boundary; what is done stays done"])


def plan_resume(run: Run) -> VerbPlan:
    return _plan(run, "operation.resume", _going_on(run, verb="go on with"))


def plan_retry(run: Run) -> VerbPlan:
    return _plan(run, "operation.retry", _going_on(run, verb="try again"))


def plan_skip(run: Run) -> VerbPlan:
    following = _names(run)[1:]
    return _plan(run, "operation.skip", [f"mark {run.step!r} as skipped, whatever it left half done", *following])


def plan_undo(run: Run) -> VerbPlan:
    return _plan(run, "operation.undo", _taking_back(run), removes=_made(run))


def plan_cancel(run: Run) -> VerbPlan:
    if run.fence is None:
        return _plan(run, "operation.cancel", ["end it; nothing was made yet"])
    return _plan(run, "operation.cancel", ["stop at the next step boundary", *_taking_back(run)], removes=_made(run))


def plan_force_complete(run: Run) -> VerbPlan:
    return _plan(run, "operation.force_complete", ["write the end that you choose; no step runs, nothing is looked at"])


def _plan(run: Run, verb: str, steps: Sequence[str], *, removes: Sequence[str] = ()) -> VerbPlan:
    name = verb.removeprefix("operation.")
    blockers = []
    if name not in lifecycle.actions_of(run) and not (name == "force_complete" and run.state == RunState.PARKED):
        blockers.append(
            Finding(
                code="STATE_CONFLICT",
                severity=Severity.ERROR,
                subject=run.public_id,
                message=f"The operation is {run.state}: {name.replace('_', ' ')} is not possible now.",
                hint="Go back to the operation; it lists what is.",
            )
        )
    pivot = next((step.name for step in run.steps.all() if step.pivot), None)
    return VerbPlan(
        verb=verb,
        subject=subject_of(run),
        steps=tuple(steps),
        removes=tuple(removes),
        pivot=pivot,
        blockers=tuple(blockers),
    )


def subject_of(run: Run) -> str:
    """`onboard acme`."""
    return f"{run.workflow} {run.tenant.slug}" if run.tenant else f"{run.workflow} {run.public_id}"


def _going_on(run: Run, *, verb: str) -> list[str]:
    first, *rest = _names(run) or [run.step]
    return [f"{verb} {first!r}", *rest]


def _names(run: Run) -> list[str]:
    """The current step and those behind it, in the order in which they will run."""
    undoing = run.direction == Direction.UNDO
    steps = [step for step in run.steps.all() if step.direction == run.direction]
    steps.sort(key=lambda step: step.position, reverse=undoing)
    names = [step.name for step in steps]
    return names[names.index(run.step) :] if run.step in names else names


def _taking_back(run: Run) -> list[str]:
    begun = [step for step in _do_steps(run) if step.state != StepState.PENDING]
    return [f"undo {step.name!r}" for step in sorted(begun, key=lambda step: -step.position)] or [
        "nothing to take back"
    ]


def _do_steps(run: Run) -> list[RunStep]:
    return [step for step in run.steps.all() if step.direction == Direction.DO]


def _made(run: Run) -> list[str]:
    """What the operation made and undoing it removes. Only onboarding makes resources."""
    if (
        run.tenant_id is None
        or run.workflow != "onboard"
        or not any(s.state != StepState.PENDING for s in _do_steps(run))
    ):
        return []
    kept = Resource.objects.filter(tenant_id=run.tenant_id, state=Resource.State.READY).order_by("kind")
    return [f"{each.get_kind_display()} of {run.tenant.slug}" for each in kept] if run.tenant else []
