"""How targets stand, and how one would be repaired, in words for a terminal and as JSON."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from django.core.management.base import OutputWrapper
from tqdm import tqdm

from provisioning import lifecycle
from provisioning.rollout.drift import Selection, Standing, State
from provisioning.rollout.repair import RepairPlan
from tenants.audit import Actor

ACTOR = Actor(kind="command", id="drift", name="manage.py drift")


def selection(options: Mapping[str, Any]) -> Selection:
    """From a command's `--slug`, `--tier` and `--cluster`, each a list."""
    return Selection(tuple(options["slug"]), tuple(options["tier"]), tuple(options["cluster"]))


def survey(wanted: Selection, *, as_json: bool, out: OutputWrapper, aside: OutputWrapper) -> bool:
    """Tell what is not as released, as it is found, and at the end how many are what. Returns whether all is well."""
    targets, counts = lifecycle.targets_of(wanted), dict.fromkeys(State, 0)
    for each in tqdm(lifecycle.survey_drift(targets), total=len(targets), unit="target", disable=None):
        counts[each.state] += 1
        if each.state != State.AS_RELEASED:
            with tqdm.external_write_mode():
                out.write(json.dumps(fields(each)) if as_json else sentence(each))
    (aside if as_json else out).write(", ".join(f"{number} {state}" for state, number in counts.items()))
    return not counts[State.DRIFTED] and not counts[State.AWAY]


def repair(name: str, *, yes: bool, out: OutputWrapper) -> None:
    """Show the plan; with `yes` carry out this very plan."""
    plan = lifecycle.plan_repair_of_drift(target=lifecycle.target_named(name))
    out.write("\n".join(repair_lines(plan)))
    if yes:
        lifecycle.repair_drift(target=plan.target, digest=plan.digest, actor=ACTOR)
        out.write(f"{plan.target.name}: as release {plan.target.release} again.")


def sentence(standing: Standing) -> str:
    """The target on a line, and below it what differs."""
    target = standing.target
    if standing.state == State.AWAY:
        return f"{target.name}: not looked at. {standing.said}"
    accepted = " (accepted)" if standing.state == State.ADOPTED else ""
    head = f"{target.name}: not as release {target.release}{accepted}"
    return "\n".join((head, *(f"    {line}" for line in standing.lines)))


def fields(standing: Standing) -> dict[str, Any]:
    target = standing.target
    return {
        "target": target.name,
        "tier": target.tier,
        "cluster": target.cluster.name,
        "release": target.release,
        "state": standing.state,
        "lines": standing.lines,
        "said": standing.said,
    }


def repair_lines(plan: RepairPlan) -> Iterator[str]:
    """What differs, the statements, which of them lose something, and what is left to a person."""
    if not plan.lines:
        yield f"{plan.target.name}: as release {plan.target.release}. Nothing to repair."
    yield from (f"-- {line}" for line in plan.lines)
    yield from (f"{each.statement};{'  -- what it holds is lost' if each.loses else ''}" for each in plan.statements)
    yield from (f"-- left to you: {name}" for name in plan.left)
