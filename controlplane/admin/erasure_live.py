"""What a page says of one erasure request right now, and how soon it should ask again.

See Note [One fragment, one token] in live.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from django.db.models import OuterRef, QuerySet, Subquery
from django.db.models.functions import Now

from controlplane import certificate_page
from controlplane.admin import live
from controlplane.admin.actors import with_actor_names
from controlplane.admin.words import duration
from provisioning import lifecycle
from provisioning.erasure.deadlines import Clock
from provisioning.models import (
    ENDED_REQUESTS,
    ErasureApproval,
    ErasureCertificate,
    ErasurePlan,
    ErasureRequest,
    ErasureState,
    ErasureStore,
    Judged,
    Person,
    Recheck,
    RecordHold,
    RunState,
)
from tenants.findings import Severity

DEADLINES = {Severity.WARNING: "soon", Severity.ERROR: "at_risk", Severity.CRITICAL: "overdue"}
MOVES = frozenset({ErasureState.FREEZING, ErasureState.ERASING, ErasureState.CHECKING, ErasureState.REGRESSED})
STAGES = dict(ErasureCertificate.Stage.choices)


@dataclass(frozen=True, slots=True)
class Deadline:
    """How much of a request's time has gone. `state` is a key of the label map; "" once it is over."""

    clock: Clock
    state: str
    gone_days: int
    all_days: int


@dataclass(frozen=True, slots=True)
class Line:
    """One store: how far it is, and what its verifier said."""

    row: ErasureStore
    left: int | None
    said: str


@dataclass(frozen=True, slots=True)
class Paper:
    """A certificate, and what it looks like."""

    row: ErasureCertificate
    stage: str
    shown: Any


def with_people(requests: QuerySet[ErasureRequest]) -> QuerySet[Any]:
    """Annotate who asked, proposed and approved: `asked`, `proposed`, `approved` as actors, `…_name`, and when."""

    def answerable(column: str) -> Subquery:
        return Subquery(Person.objects.filter(ref=OuterRef(column)).values("answerable")[:1])

    plans = ErasurePlan.objects.filter(request=OuterRef("pk"), digest=OuterRef("plan_digest"))
    approvals = ErasureApproval.objects.filter(pk=OuterRef("approval_id"))
    referred = requests.annotate(
        as_of=Now(),
        proposed_by=Subquery(plans.values("proposed_by")[:1]),
        proposed_at=Subquery(plans.values("proposed_at")[:1]),
        approved_by=Subquery(approvals.values("approved_by")[:1]),
        approved_at=Subquery(approvals.values("approved_at")[:1]),
    ).annotate(asked=answerable("requested_by"), proposed=answerable("proposed_by"), approved=answerable("approved_by"))
    return with_actor_names(referred, "asked", "proposed", "approved")


def deadline_of(request: ErasureRequest, now: datetime, known: Any = None) -> Deadline:
    clock = lifecycle.clock_of_erasure(request, known=known)
    over = request.settled_at is not None or request.state in ENDED_REQUESTS
    severity = clock.severity(now)
    state = "" if over else DEADLINES.get(severity, "on_time") if severity else "on_time"
    if state in {"soon", "at_risk"} and request.destroy_started_at is not None:
        state = "on_time"  # these two are about beginning
    whole, gone = clock.due_at - clock.received_at, min(now, clock.due_at) - clock.received_at
    return Deadline(clock, state, max(gone, timedelta(0)).days, whole.days)


def sentence(request: ErasureRequest) -> str:
    """What it waits for, or does."""
    if request.state == ErasureState.PLANNING and request.counted is not None:
        return "Everything was counted. Somebody must propose the plan, and somebody else approve it."
    if request.state == ErasureState.CHECKING and request.checked_at is not None:
        return "The first check was clean. The second comes once late writers can be there no more."
    return {
        ErasureState.RECEIVED: "Accepted.",
        ErasureState.IDENTIFYING: "Waits for the proof that whoever asks is the one. The time runs.",
        ErasureState.PLANNING: "What there is in every store is being counted.",
        ErasureState.BLOCKED: "Something stands in the way. It is counted anew every 15 minutes.",
        ErasureState.AWAITING_APPROVAL: "Nothing happens until somebody else has approved the plan.",
        ErasureState.SCHEDULED: "Approved. It begins when its grace is over, and can be cancelled until it destroys.",
        ErasureState.FREEZING: "Writers are shut out, and the stock is taken. It can still be cancelled.",
        ErasureState.ERASING: "Every store is being erased. From here on it only goes forward.",
        ErasureState.CHECKING: "Everything was erased. The verifiers look for what is left.",
        ErasureState.SETTLING: "Nothing is left in running systems. The verifiers look again on the days below.",
        ErasureState.COMPLETED: "Done, and the last date of every copy has passed.",
        ErasureState.REGRESSED: "Something was found again: its certificates are withdrawn, and it is erased anew.",
        ErasureState.REJECTED: f"Rejected: {_words(request.reason)}. Nothing was erased.",
        ErasureState.CANCELLED: f"Cancelled: {_words(request.reason)}. Nothing was erased.",
        ErasureState.MERGED: "It asks for the same as an earlier request, and became part of that one.",
    }[ErasureState(request.state)]


def lines_of(request: ErasureRequest) -> list[Line]:
    """The stores of the round that is under way, or was the last."""
    rows = ErasureStore.objects.filter(request=request, round=request.round).defer("found").order_by("store")
    return [_line(row) for row in rows]


def papers_of(request: ErasureRequest) -> list[Paper]:
    rows = list(lifecycle.certificates_of_erasure(request))
    return [
        Paper(row, STAGES[row.stage], certificate_page.page(json.loads(row.document)) if row is rows[0] else "")
        for row in rows
    ]


def rechecks_of(request: ErasureRequest) -> list[Recheck]:
    return list(Recheck.objects.filter(request=request).order_by("due_at"))


def holds_of(request: ErasureRequest) -> list[RecordHold]:
    return list(RecordHold.objects.filter(request=request).order_by("released_at", "store", "locator", "record"))


def token_of(request: Any, lines: Sequence[Line], deadline: Deadline) -> str:
    """A hash of everything the fragment shows but the clock."""
    run = (request.run.state, request.run.step, request.run.error) if request.run else None
    papers = list(lifecycle.certificates_of_erasure(request).values_list("pk", "state"))
    holds = [(hold.pk, hold.released_at, hold.archived) for hold in holds_of(request)]
    rechecks = [(each.pk, each.verdict) for each in rechecks_of(request)]
    each = [(line.row.store, line.row.deleted, line.row.passes, line.row.failed, line.row.judged_at) for line in lines]
    shown = [request.version, request.state, request.attention, deadline.state, deadline.gone_days, run]
    return sha256(repr([*shown, papers, holds, rechecks, each]).encode()).hexdigest()[:16]


def pace_of(request: ErasureRequest) -> float | None:
    """Seconds until the page asks again; None when nothing will change by itself."""
    if request.state in ENDED_REQUESTS:
        return None
    if request.state in MOVES and request.run is not None and not request.run.ended:
        return live.SLOWER if request.run.state == RunState.PARKED else live.FAST
    if request.state == ErasureState.PLANNING and request.counted is None:
        return live.SLOWER
    return live.SLOWEST


def _line(row: ErasureStore) -> Line:
    reasons = [*(str(each["code"]) for each in row.failed), *row.judged.get("reasons", ())]
    left = None if row.planned is None else max(0, row.planned - row.deleted - row.retained)
    return Line(row, left, "; ".join(reasons) if row.verdict != Judged.CLEAN else "")


def _words(code: str) -> str:
    return code.replace("_", " ")


def grace_of(request: ErasureRequest) -> str:
    return duration(request.grace) if request.grace else "none"
