"""A request's deadlines, from its row and from how long such erasures have taken."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from math import ceil

from provisioning.erasure import deadlines
from provisioning.erasure.deadlines import Clock
from provisioning.models import ENDED_REQUESTS, ErasureRequest
from tenants.findings import Finding, Severity
from tenants.models import Tenant

SAMPLE = 50  # of the latest
FEWEST = 20
UNKNOWN = timedelta(hours=24)  # taken for the 95th percentile while there are fewer
TELLS: dict[Severity, tuple[str, str]] = {
    Severity.INFO: ("erasure.half_gone", "Half the time has gone."),
    Severity.WARNING: ("erasure.soon", "It must begin within a week."),
    Severity.ERROR: ("erasure.at_risk", "The latest safe start is over."),
    Severity.CRITICAL: ("erasure.overdue", "The due date is over."),
}


def clock_of(request: ErasureRequest) -> Clock:
    due = request.extended_until or request.due_at
    return clock(request.received_at, due, kind=request.kind, tenant=request.tenant)


def clock(received_at: datetime, due_at: datetime, *, kind: str, tenant: Tenant) -> Clock:
    return Clock(received_at, due_at, deadlines.latest_start(due_at, p95=usual(kind, tier=tenant.plan.tier)))


def usual(kind: str, *, tier: str) -> timedelta:
    """How long 95 of 100 erasures of this kind and tier took, from the bar to the certificate."""
    done = ErasureRequest.objects.filter(kind=kind, tenant__plan__tier=tier, settled_at__isnull=False)
    pairs = done.order_by("-settled_at").values_list("destroy_started_at", "settled_at")[:SAMPLE]
    took = sorted(settled - started for started, settled in pairs if started is not None and settled is not None)
    return took[ceil(0.95 * len(took)) - 1] if len(took) >= FEWEST else UNKNOWN


def findings(now: datetime) -> Iterator[Finding]:
    """What to say of every open request's time, and of those that wait for a person."""
    for request in ErasureRequest.objects.exclude(state__in=ENDED_REQUESTS).select_related("tenant__plan"):
        if request.attention:
            said = f"It is {request.state} and stuck: {request.attention}."
            hint = "Read the verdicts of its stores, and the operation's error."
            yield Finding("erasure.attention", Severity.CRITICAL, request.public_id, said, hint)
        if request.settled_at is None and (severity := clock_of(request).severity(now)) is not None:
            code, said = TELLS[severity]
            due = request.extended_until or request.due_at
            hint = f"It is {request.state}, due before {due:%Y-%m-%d %H:%M} UTC."
            yield Finding(code, severity, request.public_id, said, hint)
