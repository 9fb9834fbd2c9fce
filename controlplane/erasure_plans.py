"""What each verb of an erasure request would do, for whoever is asked to confirm it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from provisioning import lifecycle
from provisioning.models import ErasureRequest, ErasureState
from provisioning.workflows.plans import VerbPlan
from tenants.findings import Finding, Severity
from tenants.models import Tenant

GOES = ("delete", "blank", "shred")


def plan_request(tenant: Tenant, wish: lifecycle.ErasureWish) -> VerbPlan:
    """By when, and what comes next. Writes nothing. Raises InvalidErasure, DeadlineInfeasible."""
    clock, grace = lifecycle.foresee_erasure(wish, tenant)
    steps = [
        f"accept it, due before {_moment(clock.due_at)}",
        *(["wait until it is proved that whoever asks is the one"] if wish.kind == "subject" else []),
        "count what is there, for somebody to propose and somebody else to approve",
        f"wait {_days(grace.total_seconds())} after the approval",
        f"begin by {_moment(clock.latest_start)} at the latest, to be safe",
    ]
    return VerbPlan("erasure.request", tenant.public_id, tuple(steps))


def plan_prove(request: ErasureRequest) -> VerbPlan:
    steps = ["keep the id of the proof, and never the proof", "count what is there, for somebody to propose"]
    return _plan(request, "prove_identity", steps)


def plan_propose(request: ErasureRequest) -> VerbPlan:
    """The latest count, in lines."""
    counted = request.counted
    if counted is None:
        waits = _finding(request, "STATE_CONFLICT", "It is being counted.", "Come back in a moment.")
        return _plan(request, "propose", ["freeze what was counted"], blockers=[waits])
    steps = [
        "freeze these counts, for somebody else to approve; nothing is erased yet",
        *_stays(counted),
        *_goes(counted),
    ]
    return _plan(request, "propose", steps, blockers=list(blockers_of(counted)))


def plan_approve(request: ErasureRequest) -> VerbPlan:
    """The frozen plan, with its digest as the first line: what is approved is that plan and no other."""
    frozen = lifecycle.plan_of_erasure(request)
    if frozen is None:
        gone = _finding(request, "PLAN_CHANGED", "Nothing is proposed any more.", "Go back to the request.")
        return _plan(request, "approve", ["approve a plan"], blockers=[gone])
    grace = _days(request.grace.total_seconds())
    steps = [f"approve the plan sha256:{bytes(frozen.digest).hex()}"]
    if request.kind == "tenant":
        steps.append("suspend the tenant at once, unless its doors are shut already")
    when = f"{grace} later, or sooner where the time is short" if request.grace else "at once"
    steps += [f"begin {when}; until it destroys, it can be cancelled", *_stays(frozen.document)]
    return _plan(request, "approve", steps, removes=list(_goes(frozen.document)))


def plan_reject(request: ErasureRequest) -> VerbPlan:
    return _plan(request, "reject", ["close it; nothing is erased", _forgets(request)])


def plan_cancel(request: ErasureRequest) -> VerbPlan:
    steps = ["call it off; nothing is erased", _forgets(request)]
    if request.state == ErasureState.FREEZING:
        steps.insert(1, "take back what its operation has changed")
    if request.kind == "tenant":
        steps.append("the tenant stays as it is now; it is resumed or undeleted on its own page")
    return _plan(request, "cancel", steps)


def plan_extend(request: ErasureRequest) -> VerbPlan:
    steps = [f"move its due date, {_moment(request.due_at)}, by one or two months, once"]
    blockers = []
    if request.extended_until is not None or request.policy != "eu":
        message = "It was extended before." if request.extended_until else "It is due by a contract, not by law."
        blockers = [_finding(request, "VALIDATION_FAILED", message, "Finish it in time.")]
    return _plan(request, "extend", steps, blockers=blockers)


def plan_recheck(request: ErasureRequest) -> VerbPlan:
    steps = ["have all verifiers look again, now", "if anything is found, withdraw its certificates and erase again"]
    return _plan(request, "recheck", steps)


def plan_hold(request: ErasureRequest) -> VerbPlan:
    steps = ["keep these records when the rest goes", "count anew: what was proposed or approved before holds no more"]
    if request.kind == "tenant":
        steps.insert(1, "copy them into an archive under a key of its own before the tenant is destroyed")
    return _plan(request, "hold_records", steps)


def plan_release(request: ErasureRequest) -> VerbPlan:
    late = request.destroy_started_at is not None
    step = "ask for them in a request of their own, due when this one was" if late else "count anew, with them in it"
    steps = [step]
    if late and request.kind == "tenant":
        steps.append("once that is approved, destroy their archive and its key, and supersede the certificate")
    return _plan(request, "release_records", steps)


def subject_of(request: ErasureRequest) -> str:
    """`erasure of acme`, `erasure of a person of acme`."""
    return f"erasure of {'a person of ' if request.kind == 'subject' else ''}{request.tenant.slug}"


def blockers_of(document: Mapping[str, Any]) -> Iterator[Finding]:
    for each in document["blockers"]:
        yield Finding(**{**each, "severity": Severity(each["severity"])})


def _goes(document: Mapping[str, Any]) -> Iterator[str]:
    for store in document["stores"]:
        for tally in store["tallies"]:
            if tally["action"] in GOES and tally["n"] != 0:
                number = "an unknown number" if tally["n"] is None else f"{tally['n']:,}"
                yield f"{number} of {tally['locator']} in {store['store']} ({tally['action']})"


def _stays(document: Mapping[str, Any]) -> Iterator[str]:
    for store in document["stores"]:
        for tally in store["tallies"]:
            if tally["action"] == "retain" and tally["n"]:
                yield f"keep {tally['n']:,} of {tally['locator']}: {tally['ground']}"


def _forgets(request: ErasureRequest) -> str:
    if request.kind == "tenant":
        return "keep the request as a record"
    return "keep the request as a record, and forget its identifiers after 30 days"


def _plan(
    request: ErasureRequest,
    verb: str,
    steps: list[str],
    *,
    removes: list[str] | None = None,
    blockers: list[Finding] | None = None,
) -> VerbPlan:
    return VerbPlan(
        verb=f"erasure.{verb}",
        subject=subject_of(request),
        steps=tuple(steps),
        removes=tuple(removes or ()),
        blockers=tuple(blockers or ()),
    )


def _finding(request: ErasureRequest, code: str, message: str, hint: str) -> Finding:
    return Finding(code, Severity.ERROR, request.public_id, message, hint)


def _moment(at: datetime) -> str:
    return f"{at:%-d %B %Y %H:%M} UTC"


def _days(seconds: float) -> str:
    days, rest = divmod(int(seconds), 86_400)
    return f"{days} day{'' if days == 1 else 's'}" if days or not rest else f"{rest // 3600} hours"
