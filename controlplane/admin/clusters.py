"""Clusters: the PostgreSQL servers that tenants are placed on, and whether new ones may come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Concat
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from controlplane.admin.base import ReadOnlyAdmin
from controlplane.admin.confirm import VerbForm, actor_of, describe, plan_then_confirm
from controlplane.templatetags.ops import badge
from provisioning import lifecycle
from provisioning.models import ClusterRelease, Run
from provisioning.workflows.plans import VerbPlan
from tenants.errors import TenureError
from tenants.findings import Finding, Severity
from tenants.models import Cluster, Placement, Pool

CHANGE = "tenants.change_cluster"
REGISTER = "tenants.add_cluster"

EFFECTS: dict[str, str] = {
    Cluster.State.OPEN: "new tenants may be placed on it",
    Cluster.State.DRAINING: "no new tenant is placed on it; those that are there stay, and go on working",
    Cluster.State.CLOSED: "no new tenant is placed on it; those that are there stay, and go on working",
}


class RegisterForm(forms.Form):
    """Where the server is, and how much it may take. What is left out gets a default."""

    name = forms.SlugField(max_length=48, help_text="For people, for example: eu-1.")
    region = forms.SlugField(max_length=48, help_text="Tenants of this region may be placed on it.")
    url = forms.CharField(
        label="URL",
        widget=forms.PasswordInput(render_value=False),
        help_text="postgresql://role:password@host:5432/database; it is sealed, and not shown again.",
    )
    capacity = forms.IntegerField(min_value=1, required=False, help_text="The most tenants it may hold.")
    max_running = forms.IntegerField(
        label="Operations at once", min_value=1, required=False, help_text="The most that may work on it together."
    )
    public_host = forms.CharField(
        label="Public host", max_length=255, required=False, help_text="What applications connect to, if not the URL's."
    )
    public_port = forms.IntegerField(label="Public port", min_value=1, max_value=65_535, required=False)


def plan_to(state: Cluster.State) -> Any:
    """The plan of setting a cluster's state: it moves nobody."""

    def plan(cluster: Cluster) -> VerbPlan:
        same = Finding("STATE_CONFLICT", Severity.ERROR, cluster.name, f"The cluster is {state} already.", "Go back.")
        return VerbPlan(
            verb="cluster.change",
            subject=cluster.name,
            steps=(f"set {cluster.name} from {cluster.state} to {state}: {EFFECTS[state]}",),
            blockers=(same,) if cluster.state == state else (),
        )

    return plan


class ClusterAdmin(ReadOnlyAdmin):
    """One line a cluster, with how full it is."""

    noun, nouns = "cluster", "clusters"
    list_before_template = "admin/parts/register_button.html"
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
            driven=Subquery(
                driven.filter(limit_key=Concat(Value("cluster:"), OuterRef("name")))
                .annotate(n=Count("pk"))
                .values("n")[:1]
            ),
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

    # --- the page ------------------------------------------------------------------------------------------------

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        url = reverse("admin:tenants_cluster_register") if request.user.has_perm(REGISTER) else ""
        return super().changelist_view(request, {"register_url": url, **(extra_context or {})})

    def extra_urls(self, name: str) -> Sequence[URLPattern]:
        return (path("register/", self.guarded(self.register), name=f"{name}_register"),)

    def register(self, request: HttpRequest) -> HttpResponse:
        """Check a server and take it into the register. Its URL holds a password, so it is never shown again."""
        if not request.user.has_perm(REGISTER):
            raise PermissionDenied
        form = RegisterForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            try:
                cluster, findings = lifecycle.register_cluster(actor=actor_of(request), **form.cleaned_data)
            except TenureError as error:
                form.add_error(None, f"{error} {error.cure}")
            except ValidationError as error:
                for field, texts in error.message_dict.items():
                    form.add_error(field if field in form.fields else None, texts)
            else:
                for finding in findings:
                    messages.warning(request, f"{finding.message} {finding.hint}")
                return HttpResponseRedirect(self.url_of(cluster))
        describe(form)
        context = {
            **self.admin_site.each_context(request),
            "crumbs": [("Clusters", self.list_url())],
            "title": "Register a cluster",
            "form": form,
            "cancel_url": self.list_url(),
        }
        return TemplateResponse(request, "admin/register_cluster.html", context, status=422 if form.errors else 200)

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
            "pools": list(Pool.objects.filter(cluster=row).order_by("created_at", "schema")),
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

    @plan_then_confirm("Open", permission=CHANGE, plan=plan_to(Cluster.State.OPEN), icon="lock_open")
    def open(self, cluster: Cluster, form: VerbForm) -> str:
        """Let new tenants come."""
        return self._set(cluster, Cluster.State.OPEN, form)

    @plan_then_confirm("Drain", permission=CHANGE, plan=plan_to(Cluster.State.DRAINING), icon="output")
    def drain(self, cluster: Cluster, form: VerbForm) -> str:
        """No new tenants; it is to be emptied."""
        return self._set(cluster, Cluster.State.DRAINING, form)

    @plan_then_confirm("Close", permission=CHANGE, plan=plan_to(Cluster.State.CLOSED), icon="lock", danger=True)
    def close(self, cluster: Cluster, form: VerbForm) -> str:
        """No new tenants."""
        return self._set(cluster, Cluster.State.CLOSED, form)

    def _set(self, cluster: Cluster, state: Cluster.State, form: VerbForm) -> str:
        lifecycle.change_cluster(cluster=cluster, state=state, actor=form.actor)
        return self.url_of(cluster)
