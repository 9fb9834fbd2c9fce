"""Clusters: the PostgreSQL servers that tenants are placed on, and whether new ones may come."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from controlplane.admin.base import ReadOnlyAdmin
from controlplane.admin.confirm import ReasonForm, plan_then_confirm
from controlplane.templatetags.ops import badge
from provisioning import lifecycle
from provisioning.models import ClusterRelease, Run
from provisioning.workflows.plans import VerbPlan
from tenants.findings import Finding, Severity
from tenants.models import Cluster, Placement

CHANGE = "tenants.change_cluster"

EFFECTS: dict[str, str] = {
    Cluster.State.OPEN: "new tenants may be placed on it",
    Cluster.State.DRAINING: "no new tenant is placed on it; those that are there stay, and go on working",
    Cluster.State.CLOSED: "no new tenant is placed on it; those that are there stay, and go on working",
}


def plan_to(state: Cluster.State) -> Any:
    """The plan of setting a cluster's state: it moves nobody."""

    def plan(cluster: Cluster) -> VerbPlan:
        blockers = ()
        if cluster.state == state:
            blockers = (
                Finding("STATE_CONFLICT", Severity.ERROR, cluster.name, f"The cluster is {state} already.", "Go back."),
            )
        return VerbPlan(
            verb="cluster.change",
            subject=cluster.name,
            steps=(f"set {cluster.name} from {cluster.state} to {state}: {EFFECTS[state]}",),
            blockers=blockers,
        )

    return plan


class ClusterAdmin(ReadOnlyAdmin):
    """One line a cluster, with how full it is."""

    noun, nouns = "cluster", "clusters"
    none_yet = "A cluster is a PostgreSQL server that tenants are placed on. `make run` registers the embedded one."
    page_template = "admin/cluster.html"
    verbs = ("open", "drain", "close")

    list_display = ("name", "standing", "region", "load", "running", "where")
    list_filter = ("state", "region")
    search_fields = ("name__startswith",)
    ordering = ("name",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Cluster]:
        clusters: QuerySet[Cluster] = super().get_queryset(request)
        driven = Run.objects.filter(lease_until__isnull=False).order_by().values("limit_key")
        return clusters.annotate(
            tenants_on_it=Count("placements", filter=Q(placements__active=True)),
            driven=Subquery(driven.filter(limit_key=limit_key()).annotate(n=Count("pk")).values("n")[:1]),
        )

    @admin.display(description="state", ordering="state")
    def standing(self, cluster: Cluster) -> SafeString:
        return badge("cluster", cluster.state)

    @admin.display(description="tenants", ordering="tenants_on_it")
    def load(self, cluster: Any) -> SafeString:
        url = reverse("admin:tenants_tenant_changelist")
        return format_html(
            '<a href="{}?cluster={}">{} of {}</a>', url, cluster.name, cluster.tenants_on_it, cluster.capacity
        )

    @admin.display(description="at work now")
    def running(self, cluster: Any) -> str:
        return f"{cluster.driven or 0} of {cluster.max_running}"

    @admin.display(description="address")
    def where(self, cluster: Cluster) -> SafeString:
        return format_html("<code>{}:{}</code>", cluster.public_host, cluster.public_port)

    def page_queryset(self, request: HttpRequest) -> QuerySet[Cluster]:
        return self.get_queryset(request)

    def page_context(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        allowed = [name for name, verb in self.state_of_verb.items() if verb != row.state]
        by_tier = (
            Placement.objects.filter(cluster=row, active=True).values("tier").annotate(n=Count("pk")).order_by("tier")
        )
        return {
            "cluster": row,
            "share": min(row.tenants_on_it / row.capacity, 1) if row.capacity else 1,
            "by_tier": list(by_tier),
            "releases": list(
                ClusterRelease.objects.filter(cluster=row).select_related("release").order_by("-ready_at")
            ),
            "verbs": self.links(request, row, allowed),
        }

    state_of_verb: ClassVar = {
        "open": Cluster.State.OPEN,
        "drain": Cluster.State.DRAINING,
        "close": Cluster.State.CLOSED,
    }

    @plan_then_confirm("Open", form=ReasonForm, permission=CHANGE, plan=plan_to(Cluster.State.OPEN), icon="lock_open")
    def open(self, cluster: Cluster, form: ReasonForm) -> str:
        """Let new tenants come."""
        return self._set(cluster, Cluster.State.OPEN, form)

    @plan_then_confirm("Drain", form=ReasonForm, permission=CHANGE, plan=plan_to(Cluster.State.DRAINING), icon="output")
    def drain(self, cluster: Cluster, form: ReasonForm) -> str:
        """No new tenants; it is to be emptied."""
        return self._set(cluster, Cluster.State.DRAINING, form)

    @plan_then_confirm(
        "Close", form=ReasonForm, permission=CHANGE, plan=plan_to(Cluster.State.CLOSED), icon="lock", danger=True
    )
    def close(self, cluster: Cluster, form: ReasonForm) -> str:
        """No new tenants."""
        return self._set(cluster, Cluster.State.CLOSED, form)

    def _set(self, cluster: Cluster, state: Cluster.State, form: ReasonForm) -> str:
        lifecycle.change_cluster(cluster, state=state, actor=form.actor, reason=form.reason_text)
        return self.url_of(cluster)


def limit_key() -> Any:
    """The limit that work on the outer cluster counts against."""
    from django.db.models import Value
    from django.db.models.functions import Concat

    return Concat(Value("cluster:"), OuterRef("name"))
