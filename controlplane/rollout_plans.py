"""What each verb of a rollout would do, for the page that asks to confirm it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from provisioning import lifecycle
from provisioning.models import PauseReason, Rollout, RolloutState, RolloutTarget, TargetState
from provisioning.rollout.rehearsing import under_way
from provisioning.rollout.verbs import NEEDS_REASON
from provisioning.workflows.plans import VerbPlan
from tenants.findings import Finding, Severity

SKIPPABLE = (TargetState.WAITING, TargetState.FAILED)


def plan_approve(rollout: Rollout) -> VerbPlan:
    """The kept plan in lines, with its digest as the first: what is approved is that plan and no other.

    Where a rehearsal objects, its objections are lines as well, and the approval needs a reason.
    """
    plan, objections = rollout.plan, objections_to(rollout)
    steps = [f"approve the plan {rollout.plan_digest}", *_waves(plan), *_paths(plan), *_terms(plan["terms"])]
    steps += [f"override what the rehearsal found: {each.subject}: {each.message}" for each in objections]
    blockers = [*_own(rollout), *_refusals(rollout)]
    return _plan(rollout, "approve", steps, blockers=blockers, needs_reason=bool(objections))


def objections_to(rollout: Rollout) -> list[Finding]:
    """What the rehearsal that counts for an approval found."""
    counts = lifecycle.latest_rehearsal(rollout)
    return [objection(kept) for kept in counts.findings] if counts else []


def objection(kept: Mapping[str, Any]) -> Finding:
    """One of a rehearsal's findings as it is kept; its hint says where in the release it comes from."""
    source = " ".join(
        part for part in (f"{kept['migration']}:" if kept["migration"] else "", kept["statement"]) if part
    )
    return Finding(kept["code"], Severity.WARNING, kept["target"], kept["message"], source)


def plan_rehearse(rollout: Rollout) -> VerbPlan:
    """On how many copies is a field of the form."""
    steps = [
        "copy its largest targets, the oldest, and one for each way, with their rows; of a pool its largest tenants",
        "bring each copy along as the rollout would, and drop it",
        "keep what that took: time, locks and for how long, rows; the tenants themselves are only read",
    ]
    blockers = list(_refusals(rollout))
    if (busy := under_way(rollout)) is not None:
        message = f"Operation {busy.public_id} rehearses it already."
        blockers.append(_finding(rollout, "OPERATION_IN_PROGRESS", message, "Wait for it to end, or cancel it."))
    return _plan(rollout, "rehearse", steps, blockers=blockers)


def plan_pause(rollout: Rollout) -> VerbPlan:
    return _plan(rollout, "pause", ["no lane takes another target; those that are at work now are finished"])


def plan_resume(rollout: Rollout) -> VerbPlan:
    failed = rollout.targets.filter(state=TargetState.FAILED).count()
    steps = [f"go on with wave {rollout.wave} of {rollout.last_wave}"]
    if failed:
        steps.append(f"forgive {_targets(failed)} that failed: they stay failed, and cost the budget nothing any more")
    blockers = []
    if failed and rollout.pause_reason == PauseReason.FAILURES_LEFT:
        message = f"All waves are through, and {_targets(failed)} failed: there is nothing to go on with."
        blockers = [_finding(rollout, "STATE_CONFLICT", message, "Retry or skip them, or cancel the rollout.")]
    return _plan(rollout, "resume", steps, blockers=blockers, needs_reason=rollout.pause_reason in NEEDS_REASON)


def plan_retry_failed(rollout: Rollout) -> VerbPlan:
    failed = rollout.targets.filter(state=TargetState.FAILED).count()
    goes_on = rollout.state == RolloutState.PAUSED and rollout.pause_reason != PauseReason.OPERATOR
    steps = [f"{_targets(failed)} that failed wait for another turn; nobody else is touched again"]
    if rollout.state == RolloutState.PAUSED:
        steps.append("the rollout goes on" if goes_on else "the rollout stays paused until somebody resumes it")
    nothing = _finding(rollout, "STATE_CONFLICT", "Nothing has failed.", "Go back to the rollout.")
    return _plan(rollout, "retry_failed", steps, blockers=[] if failed else [nothing])


def plan_cancel(rollout: Rollout) -> VerbPlan:
    if rollout.state == RolloutState.DRAFT:
        return _plan(rollout, "cancel", ["end it; nothing was touched yet"])
    waiting = rollout.targets.filter(state=TargetState.WAITING).count()
    steps = ["those that are at work now are finished, and who has arrived stays there"]
    return _plan(rollout, "cancel", [*steps, f"{_targets(waiting)} stay on the release that they are on"])


def plan_skip(target: RolloutTarget) -> VerbPlan:
    name = str(target.tenant or target.pool)
    blockers = []
    if target.state not in SKIPPABLE or "skip_target" not in lifecycle.actions_of_rollout(target.rollout):
        message = f"The target is {target.state} and its rollout {target.rollout.state}: it cannot be skipped now."
        blockers = [_finding(target.rollout, "STATE_CONFLICT", message, "Only who waits or has failed is skipped.")]
    return VerbPlan(
        verb="rollout.skip_target",
        subject=name,
        steps=(f"leave {name} on {target.source.name}", "the rollout goes on without it, and can succeed"),
        blockers=tuple(blockers),
    )


def subject_of(rollout: Rollout) -> str:
    """`rollout of 2026.11.1`."""
    return f"rollout of {rollout.release.name}"


def tiers_of(targets: Mapping[str, int]) -> str:
    """`12 schema, 1 pool`."""
    return ", ".join(f"{number} {tier}" for tier, number in targets.items()) or "nobody"


def _waves(plan: Mapping[str, Any]) -> Iterator[str]:
    for wave in plan["waves"]:
        name = f"wave {wave['number']}" if wave["number"] else "canaries first"
        yield f"{name}: {tiers_of(wave['targets'])}"


def _paths(plan: Mapping[str, Any]) -> Iterator[str]:
    for path in plan["paths"]:
        sent = sum(len(migration["statements"]) for migration in path["migrations"])
        data = sum(len(migration["data"]) for migration in path["migrations"])
        kind = "pool" if path["pooled"] else "schema or database"
        also = f", {_some(data, 'data operation')} for each tenant" if data else ""
        yield (
            f"from {path['source'] or 'no release'}, {path['targets']} {kind}: {_some(sent, 'statement')} of "
            f"{_some(len(path['migrations']), 'migration')} for each{also}"
        )


def _terms(terms: Mapping[str, Any]) -> Iterator[str]:
    yield f"{_some(terms['parallelism'], 'lane')} on each cluster; a lock is waited for {terms['lock_timeout_ms']} ms"
    yield f"pause over {budget_of(terms['max_failures'])}"
    if terms["starts_at"]:
        yield f"not before {terms['starts_at']}"
    if window := terms["window"]:
        yield f"only on {', '.join(window['days'])} from {window['from']} to {window['to']} UTC"


def budget_of(kept: Mapping[str, Any]) -> str:
    """`3 failures, or 2 % of a wave, or 0 of drift`."""
    parts = [_some(kept["count"], "failure")] if kept.get("count") is not None else []
    parts += [f"{kept['percent']:g} % of a wave"] if kept.get("percent") is not None else []
    parts += [f"{most} of {name}" for name, most in kept.get("classes", {}).items()]
    return ", or ".join(parts) or "0 failures"


def _own(rollout: Rollout) -> Iterator[Finding]:
    """`own`, where a door has set it, says that whoever asks proposed it."""
    if getattr(rollout, "own", False):
        yield _finding(
            rollout,
            lifecycle.SamePerson.code,
            "You proposed it, and whoever proposed a rollout does not approve it as well.",
            lifecycle.SamePerson.cure,
        )


def _refusals(rollout: Rollout) -> Iterator[Finding]:
    """What would refuse its release."""
    for path in rollout.plan["paths"]:
        for refusal in path["refusals"]:
            yield _finding(rollout, "ROLLOUT_REFUSED", refusal["reason"], refusal["instead"])
    if older := rollout.plan["older"]:
        message = f"It takes away what an older release still uses, and {len(older)} run one: {', '.join(older[:5])}."
        yield _finding(rollout, "OLDER_RELEASE_RUNS", message, "Roll the release that made room for it out first.")


def _finding(rollout: Rollout, code: str, message: str, hint: str) -> Finding:
    return Finding(code=code, severity=Severity.ERROR, subject=subject_of(rollout), message=message, hint=hint)


def _targets(number: int) -> str:
    return _some(number, "target")


def _some(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _plan(
    rollout: Rollout, verb: str, steps: Sequence[str], *, blockers: Sequence[Finding] = (), needs_reason: bool = False
) -> VerbPlan:
    if verb not in lifecycle.actions_of_rollout(rollout):
        message = f"The rollout is {rollout.state}: {verb.replace('_', ' ')} is not possible now."
        blockers = [_finding(rollout, "STATE_CONFLICT", message, "Go back to the rollout; it lists what is.")]
    return VerbPlan(
        verb=f"rollout.{verb}",
        subject=subject_of(rollout),
        steps=tuple(steps),
        blockers=tuple(blockers),
        needs_reason=needs_reason,
    )
