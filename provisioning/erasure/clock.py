"""A request's deadlines, from its row and from how long such erasures have taken."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from math import ceil

from django.db.models import F, Window
from django.db.models.functions import RowNumber

from provisioning.erasure import deadlines
from provisioning.erasure.deadlines import Clock
from provisioning.models import ENDED_REQUESTS, ErasureRequest
from tenants.findings import Finding, Severity
from tenants.models import Tenant

SAMPLE = 50  # of the latest
FEWEST = 20
Usual = Mapping[tuple[str, str], timedelta]  # by kind and tier
UNKNOWN = timedelta(hours=24)  # taken for the 95th percentile while there are fewer
TELLS: dict[Severity, tuple[str, str]] = {
    Severity.INFO: ("erasure.half_gone", "Half the time has gone."),
    Severity.WARNING: ("erasure.soon", "It must begin within a week."),
    Severity.ERROR: ("erasure.at_risk", "The latest safe start is over."),
    Severity.CRITICAL: ("erasure.overdue", "The due date is over."),
}


def clock_of(request: ErasureRequest, *, known: Usual | None = None) -> Clock:
    """`known` is what `usual` gave, for whoever asks of many."""
    due = request.extended_until or request.due_at
    return clock(request.received_at, due, kind=request.kind, tenant=request.tenant, known=known)


def clock(received_at: datetime, due_at: datetime, *, kind: str, tenant: Tenant, known: Usual | None = None) -> Clock:
    took = (usual() if known is None else known).get((kind, tenant.plan.tier), UNKNOWN)
    return Clock(received_at, due_at, deadlines.latest_start(due_at, p95=took))


def usual() -> Usual:
    """How long 95 of 100 erasures of a kind and tier took, from the bar to the certificate. One query.

    Kinds and tiers of which too few were done are not in it: they take UNKNOWN.
    """
    group = [F("kind"), F("tenant__plan__tier")]
    nth = Window(RowNumber(), partition_by=group, order_by=F("settled_at").desc())
    done = ErasureRequest.objects.filter(settled_at__isnull=False).annotate(nth=nth).filter(nth__lte=SAMPLE)
    took: defaultdict[tuple[str, str], list[timedelta]] = defaultdict(list)
    for kind, tier, began, settled in done.values_list(
        "kind", "tenant__plan__tier", "destroy_started_at", "settled_at"
    ):
        if began is not None and settled is not None:
            took[kind, tier].append(settled - began)
    return {of: sorted(each)[ceil(0.95 * len(each)) - 1] for of, each in took.items() if len(each) >= FEWEST}


def findings(now: datetime) -> Iterator[Finding]:
    """What to say of every open request's time, and of those that wait for a person."""
    known = usual()
    for request in ErasureRequest.objects.exclude(state__in=ENDED_REQUESTS).select_related("tenant__plan"):
        if request.attention:
            said = f"It is {request.state} and stuck: {request.attention}."
            hint = "Read the verdicts of its stores, and the operation's error."
            yield Finding("erasure.attention", Severity.CRITICAL, request.public_id, said, hint)
        if request.settled_at is None and (severity := clock_of(request, known=known).severity(now)) is not None:
            code, said = TELLS[severity]
            due = request.extended_until or request.due_at
            hint = f"It is {request.state}, due before {due:%Y-%m-%d %H:%M} UTC."
            yield Finding(code, severity, request.public_id, said, hint)
