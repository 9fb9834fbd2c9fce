"""Open findings: of resources, as the last verifications kept them, and of operations, from their rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Coalesce, Now
from django.urls import reverse
from django.utils import timezone

from provisioning import lifecycle
from provisioning.engine.findings import unlisted
from provisioning.models import Resource, Run, RunStep, StepState
from provisioning.workflows import WORKFLOWS
from tenants.findings import Finding, Severity

LOOKED_AT = 32  # more than anybody reads at once; the lists behind the links hold the rest
SHOWN = 8
RANK = list(Severity)
SERIOUS = Q(*(("findings__contains", [{"severity": str(each)}]) for each in RANK[1:]), _connector=Q.OR)
"""Resources with a finding that somebody should look at: "info" is not one."""


@dataclass(frozen=True, slots=True)
class Linked:
    """A finding with the page on which something can be done about it."""

    finding: Finding
    name: str
    url: str


def findings() -> dict[str, Any]:
    """The worst first, counted by severity, and how much of the fleet was ever looked at."""
    of_work, kinds = [*_of_workflows(), *_of_operations(), *_of_erasures()], kinds_of_findings()
    counts = Counter(each.finding.severity for each in of_work)
    for kind in kinds:
        counts[kind.severity] += kind.number
    found = sorted([*of_work, *_of_resources()], key=lambda each: -RANK.index(each.finding.severity))
    kept = Resource.objects.exclude(state=Resource.State.REMOVED)
    return {
        "by_severity": {str(severity): counts[severity] for severity in reversed(Severity)},
        "list": found[:SHOWN],
        "known": [kind for kind in kinds if kind.severity == Severity.INFO],
        "coverage": kept.aggregate(all=Count("pk"), measured=Count("pk", filter=Q(verified_at__isnull=False))),
    }


@dataclass(frozen=True, slots=True)
class Kind:
    """The same finding on many resources: how many, and what one of them says."""

    severity: Severity
    code: str
    number: int
    message: str


def kinds_of_findings() -> list[Kind]:
    """Everything that the last verifications kept, counted by the database."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT each ->> 'severity', each ->> 'code', count(*), min(each ->> 'message') "
            "FROM provisioning_resource, jsonb_array_elements(findings) each "
            "WHERE state <> 'removed' AND findings <> '[]' GROUP BY 1, 2 ORDER BY 3 DESC, 2"
        )
        return [Kind(Severity(severity), code, number, message) for severity, code, number, message in cursor]


def _of_workflows() -> Iterator[Linked]:
    for name, version, number in unlisted(WORKFLOWS):
        yield Linked(
            Finding(
                code="run.unknown_version",
                severity=Severity.ERROR,
                subject=f"{name} {version}",
                message=f"{number} open operations need version {version} of a workflow that is not installed.",
                hint="Deploy a release that lists it, and keep it listed until they have ended.",
            ),
            name=name,
            url=f"{reverse('admin:provisioning_run_changelist')}?workflow={name}&show=open",
        )


def _of_operations() -> Iterator[Linked]:
    """Ends that a person declared and steps that a person left out, until the tenant's resources were looked at."""
    forced = unseen(Run.objects.filter(forced=True), tenant="tenant_id", since="finished_at")
    for run in forced.select_related("tenant").order_by("-finished_at")[:LOOKED_AT]:
        yield _of_run(run, "run.forced", f"Its {run.workflow} was called {run.state} by a person.")
    skipped = RunStep.objects.filter(state=StepState.SKIPPED).select_related("run__tenant")
    for step in unseen(skipped, tenant="run__tenant_id", since="finished_at").order_by("-pk")[:LOOKED_AT]:
        yield _of_run(step.run, "run.skipped_step", f"Step {step.name} of its {step.run.workflow} was skipped.")


def _of_erasures() -> Iterator[Linked]:
    """Requests whose time runs out, or that wait for a person."""
    for finding in lifecycle.erasure_findings(timezone.now()):
        if finding.severity != Severity.INFO:
            pk = UUID(finding.subject.partition("_")[2])
            url = reverse("admin:provisioning_erasurerequest_change", args=[pk])
            yield Linked(finding, name=finding.subject[:12], url=url)


def unseen(rows: QuerySet[Any], *, tenant: str, since: str) -> QuerySet[Any]:
    """Those whose tenant owns something that nobody has looked at since."""
    owned = Resource.objects.filter(tenant=OuterRef(tenant)).exclude(state=Resource.State.REMOVED)
    stale = Q(verified_at=None) | Q(verified_at__lt=OuterRef("touched_at"))
    found: QuerySet[Any] = rows.annotate(touched_at=Coalesce(F(since), Now())).filter(Exists(owned.filter(stale)))
    return found


def _of_run(run: Run, code: str, message: str) -> Linked:
    return Linked(
        Finding(code, Severity.WARNING, run.public_id, message, "Verify the tenant's resources."),
        name=run.tenant.slug if run.tenant else run.public_id,
        url=reverse("admin:provisioning_run_change", args=[run.pk]),
    )


def _of_resources() -> Iterator[Linked]:
    wrong = Resource.objects.exclude(state=Resource.State.REMOVED).filter(SERIOUS)
    for resource in wrong.select_related("tenant").order_by("-verified_at")[:LOOKED_AT]:
        url = reverse("admin:tenants_tenant_change", args=[resource.tenant_id])
        for kept in resource.findings:
            finding = Finding(**{**kept, "severity": Severity(kept["severity"])})
            if finding.severity != Severity.INFO:
                yield Linked(finding, name=resource.tenant.slug, url=f"{url}#resources")
