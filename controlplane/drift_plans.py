"""What accepting or repairing the drift of a target would do, for whoever is asked to confirm it. Asks its server."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from provisioning import lifecycle
from provisioning.errors import Permanent, Transient
from provisioning.rollout.adoption import NothingToAdopt
from provisioning.rollout.drift import Standing, State, Target
from provisioning.rollout.repair import NothingToRepair, NotRepairable, RepairPlan, busy_with
from provisioning.workflows.plans import VerbPlan
from tenants.findings import Finding, Severity


@dataclass(frozen=True, slots=True)
class Adopting:
    """How a target was found, and the words in which that is confirmed. Its digest is of the lines."""

    standing: Standing
    plan: VerbPlan


@dataclass(frozen=True, slots=True)
class Repairing:
    """What would be sent, and the words in which that is confirmed. Its digest is of the statements."""

    repair: RepairPlan
    plan: VerbPlan


def adopting(target: Target) -> Adopting:
    """Never raises for a server that is away: that is a blocker."""
    (standing,) = lifecycle.survey_drift([target])
    blockers = []
    if standing.state not in {State.DRIFTED, State.ADOPTED}:
        message = f"{target.name} is {standing.state}. {standing.said}".strip()
        blockers = [_finding(target, NothingToAdopt.code, message, NothingToAdopt.cure)]
    steps = (f"accept in every release to come: {line}" for line in standing.lines)
    return Adopting(standing, _plan("drift.adopt", target, steps, blockers=blockers))


def repairing(target: Target) -> Repairing:
    """Raises ServerUnavailable or ServerRefused."""
    repair = lifecycle.plan_repair_of_drift(target=target)
    blockers = [
        _finding(target, NotRepairable.code, f"Left to a person: {name}", NotRepairable.cure) for name in repair.left
    ]
    if not repair.lines:
        message = f"It does not differ from release {target.release}."
        blockers = [_finding(target, NothingToRepair.code, message, NothingToRepair.cure)]
    if (busy := busy_with(target)) is not None:
        message = f"Operation {busy.public_id} ({busy.workflow}) is not finished."
        blockers.append(_finding(target, "OPERATION_IN_PROGRESS", message, "Wait for it to end, or cancel it."))
    lost = [each.statement for each in repair.statements if each.loses]
    steps = (each.statement for each in repair.statements)
    removes = (f"what this held: {statement}" for statement in lost)
    return Repairing(repair, _plan("drift.repair", target, steps, removes=removes, blockers=blockers))


def plan_repair(target: Target) -> VerbPlan:
    """As `repairing`, and never raises: a server that is away is a blocker."""
    try:
        return repairing(target).plan
    except (Transient, Permanent) as error:
        return _plan("drift.repair", target, (), blockers=[_finding(target, error.code, str(error), error.cure)])


def _plan(
    verb: str,
    target: Target,
    steps: Iterable[str],
    *,
    removes: Iterable[str] = (),
    blockers: Iterable[Finding] = (),
) -> VerbPlan:
    return VerbPlan(verb, target.name, tuple(steps), removes=tuple(removes), blockers=tuple(blockers))


def _finding(target: Target, code: str, message: str, hint: str) -> Finding:
    return Finding(code=code, severity=Severity.ERROR, subject=target.name, message=message, hint=hint)
