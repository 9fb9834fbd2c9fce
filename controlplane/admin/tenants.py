"""Tenants: the fleet, one line each, and a page that says where one lives and what it owns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Exists, OuterRef, Prefetch, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from controlplane import tenant_plans
from controlplane.admin import live
from controlplane.admin.actors import with_actor_names
from controlplane.admin.audit import entries_of
from controlplane.admin.base import ReadOnlyAdmin
from controlplane.admin.confirm import ReasonForm, actor_of, plan_then_confirm
from controlplane.admin.dates import DateVerbs
from controlplane.admin.drift import drift_url
from controlplane.admin.findings import SERIOUS
from controlplane.admin.leaving import LeavingVerbs
from controlplane.admin.onboarding import onboard, plan_page
from controlplane.admin.operations import OPERATE, uuid_of
from controlplane.admin.polling import to_login
from controlplane.admin.tenant_filters import (
    ClusterFilter,
    HealthFilter,
    PlanFilter,
    PoolFilter,
    ReleaseFilter,
    TierFilter,
)
from controlplane.admin.words import NOTHING
from controlplane.templatetags.ops import badge, moment
from provisioning import lifecycle
from provisioning.models import Release, Resource, Run, RunState
from tenants.errors import TenureError
from tenants.findings import Severity
from tenants.models import Domain, Placement, Tenant
from tenants.states import TenantState

HAND_OUT = "tenants.hand_out_credentials"
LATEST = 10  # operations and audit entries on the tenant's own page; the rest is a link away


@dataclass(frozen=True, slots=True)
class Observed:
    """One resource: what is recorded, and what was seen when somebody last looked."""

    resource: Resource
    verdict: str  # a key of the label map
    findings: Sequence[dict[str, str]]

    @classmethod
    def of(cls, resource: Resource) -> Observed:
        if resource.state == Resource.State.REMOVED or resource.verified_at is None:
            return cls(resource, "not measured", ())
        serious = any(finding["severity"] != Severity.INFO for finding in resource.findings)
        return cls(resource, "different" if serious else "as planned", resource.findings)


class TenantAdmin(LeavingVerbs, DateVerbs):
    """The fleet, one line a tenant. Nothing is edited here: a verb is planned, confirmed, and becomes an operation."""

    noun, nouns = "tenant", "tenants"
    none_yet = "A tenant is a customer of your product, with a database or schema, a bucket and credentials of its own."
    page_template = "admin/tenant.html"
    verbs = (
        *("retry", "rotate_credentials", "resume", "undelete", "suspend", "delete"),
        *("place_hold", "release_hold"),
        *("schedule_suspension", "schedule_deletion", "call_off"),
    )

    list_display = ("tenant", "standing", "health", "tier", "where", "on_release", "operation", "since")
    list_filter = ("state", TierFilter, HealthFilter, "region", ClusterFilter, PoolFilter, PlanFilter, ReleaseFilter)
    list_before_template = "admin/parts/onboard_button.html"
    search_fields = ("slug__startswith", "external_ref__exact")
    search_help_text = "Beginning of a slug, an external reference, or ten_…"
    ordering = ("slug",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Tenant]:
        placed = Placement.objects.filter(tenant=OuterRef("pk"), active=True)
        runs = Run.objects.filter(tenant=OuterRef("pk"), finished_at=None, parent=None).order_by("created_at")
        published = Release.objects.filter(state=Release.State.PUBLISHED)
        own = Release.objects.filter(name=OuterRef(OuterRef("release"))).values("published_at")[:1]
        newer = published.filter(published_at__gt=Subquery(own)).order_by().values("state")
        tenants: QuerySet[Tenant] = super().get_queryset(request)
        return tenants.annotate(
            newer=Subquery(newer.annotate(number=Count("pk")).values("number")),
            placed_tier=Subquery(placed.values("tier")[:1]),
            placed_cluster=Subquery(placed.values("cluster__name")[:1]),
            placed_pool=Subquery(placed.values("pool__schema")[:1]),
            open_run=Subquery(runs.values("pk")[:1]),
            open_run_state=Subquery(runs.values("state")[:1]),
            open_run_workflow=Subquery(runs.values("workflow")[:1]),
            parked=Exists(runs.filter(state=RunState.PARKED)),
            measured=Exists(Resource.objects.filter(tenant=OuterRef("pk"), verified_at__isnull=False)),
            findings_open=Exists(
                Resource.objects.filter(SERIOUS, tenant=OuterRef("pk")).exclude(state=Resource.State.REMOVED)
            ),
        )

    def page_queryset(self, request: HttpRequest) -> QuerySet[Tenant]:
        tenants: QuerySet[Tenant] = super(ReadOnlyAdmin, self).get_queryset(request)
        active = Placement.objects.filter(active=True).select_related("cluster", "pool")
        return tenants.select_related("plan").prefetch_related(
            Prefetch("placements", queryset=active, to_attr="placed"),
            Prefetch("domains", queryset=Domain.objects.order_by("-is_primary", "domain"), to_attr="hosts"),
        )

    def get_search_results(
        self, request: HttpRequest, tenants: QuerySet[Tenant], term: str
    ) -> tuple[QuerySet[Tenant], bool]:
        if (found := uuid_of(term, "ten")) is not None:
            return tenants.filter(pk=found), False
        results: tuple[QuerySet[Tenant], bool] = super().get_search_results(request, tenants, term)
        return results

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        onboard_url = reverse("admin:tenants_tenant_onboard") if request.user.has_perm(OPERATE) else ""
        return super().changelist_view(
            request,
            {"onboard_url": onboard_url, "first_step": ("Onboard a tenant", onboard_url), **(extra_context or {})},
        )

    @admin.display(description="tenant", ordering="slug")
    def tenant(self, tenant: Tenant) -> SafeString:
        return format_html('<bdi>{}</bdi><span class="tn-sub"><bdi>{}</bdi></span>', tenant.slug, tenant.name)

    @admin.display(description="state", ordering="state")
    def standing(self, tenant: Tenant) -> SafeString:
        return badge("tenant", tenant.state)

    @admin.display(description="health")
    def health(self, tenant: Tenant) -> SafeString:
        return badge("health", health_of(tenant))

    @admin.display(description="tier")
    def tier(self, tenant: Tenant) -> str:
        return tenant.placed_tier or NOTHING  # type: ignore[attr-defined]  # annotated

    @admin.display(description="where")
    def where(self, tenant: Any) -> SafeString:
        return format_html('{}<span class="tn-sub">{}</span>', tenant.placed_cluster or NOTHING, tenant.region)

    @admin.display(description="release", ordering="release")
    def on_release(self, tenant: Any) -> SafeString | str:
        if not tenant.newer:
            return tenant.release or NOTHING
        return format_html('{}<span class="tn-sub">{} behind</span>', tenant.release, tenant.newer)

    @admin.display(description="operation")
    def operation(self, tenant: Tenant) -> SafeString | str:
        run: UUID | None = tenant.open_run  # type: ignore[attr-defined]  # annotated
        if run is None:
            return NOTHING
        return format_html(
            '<a href="{}">{} {}</a>',
            reverse("admin:provisioning_run_change", args=[run]),
            badge("run", tenant.open_run_state),  # type: ignore[attr-defined]
            tenant.open_run_workflow,  # type: ignore[attr-defined]
        )

    @admin.display(description="since", ordering="state_since")
    def since(self, tenant: Tenant) -> SafeString:
        return moment(tenant.state_since)

    # --- the page ------------------------------------------------------------------------------------------------

    def extra_urls(self, name: str) -> Sequence[URLPattern]:
        return (
            path("onboard/", self.guarded(lambda request: onboard(request, self)), name=f"{name}_onboard"),
            path("onboard/plan/", self.guarded(lambda request: plan_page(request, self)), name=f"{name}_plan"),
            path("<uuid:object_id>/verify/", self.guarded(require_POST(self.verify)), name=f"{name}_verify"),
            path("<uuid:object_id>/live/", never_cache(self.fragment), name=f"{name}_live"),
        )

    def page_context(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        return self.shown(request, row)

    def shown(self, request: HttpRequest, tenant: Tenant) -> dict[str, Any]:
        """Everything on the page: it is one fragment while an operation is at work, and stands still otherwise."""
        resources = [Observed.of(each) for each in Resource.objects.filter(tenant=tenant).order_by("kind")]
        order = {"different": 0, "not measured": 1, "as planned": 2}
        run = live.open_run_of(tenant.pk)
        place = next(iter(tenant.placed), None)  # type: ignore[attr-defined]  # prefetched
        may_audit = request.user.has_perm("tenants.view_auditentry")
        verify_url = self.url_of(tenant, "verify") if request.user.has_perm(OPERATE) else ""
        return {
            "tenant": tenant,
            "placement": place,
            "drift_url": drift_url(request, tenant.pk) if place and tenant.release else "",
            "resources": sorted(resources, key=lambda each: order[each.verdict]),
            "measured": max((r.resource.verified_at for r in resources if r.resource.verified_at), default=None),
            "verify_url": verify_url if tenant.state == TenantState.ACTIVE else "",
            "run": run,
            "run_state": live.state_of(run) if run else "",
            "runs": list(with_actor_names(Run.objects.filter(tenant=tenant)).order_by("-created_at")[:LATEST]),
            "entries": list(entries_of(tenant)[:LATEST]) if may_audit else [],
            "may_audit": may_audit,
            "verbs": self.links(request, tenant, lifecycle.actions_of_tenant(tenant)),
            **self.leaving(request, tenant),
            **self.dated(request, tenant),
            "url": settings.TENANT_URL.format(slug=tenant.slug) if tenant.state == TenantState.ACTIVE else "",
            "behind": behind(tenant),
            "trigger": live.trigger(live.FAST if run and run.held else live.SLOWER) if run else "",
            "live_url": f"{self.url_of(tenant, 'live')}?shown={token_of(tenant, run)}",
        }

    def fragment(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """The page's one region, while an operation works on the tenant. 204 when it would look the same."""
        if not self.admin_site.has_permission(request) or not self.has_view_permission(request):
            return to_login(reverse("admin:tenants_tenant_change", args=[object_id]))
        tenant = self.page_queryset(request).filter(pk=object_id).first()
        if tenant is None:
            return TemplateResponse(request, "admin/parts/gone.html", {"noun": self.noun, "list_url": self.list_url()})
        if request.GET.get("shown") == token_of(tenant, live.open_run_of(tenant.pk)):
            return HttpResponse(status=204)
        return TemplateResponse(request, "admin/parts/live_tenant.html", self.shown(request, tenant))

    def verify(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """Look at every resource now. It changes nothing but what is known, so it needs no plan."""
        tenant = self.row(request, object_id)
        if tenant is None:
            return self.gone(request, object_id)
        if not request.user.has_perm(OPERATE):
            raise PermissionDenied
        try:
            findings = lifecycle.verify_resources(tenant=tenant, actor=actor_of(request))
        except TenureError as error:
            messages.error(request, f"Not verified: {error} {error.cure}")
        else:
            level = messages.WARNING if findings else messages.SUCCESS
            word = "finding" if len(findings) == 1 else "findings"
            messages.add_message(request, level, f"Every resource was looked at now: {len(findings)} {word}.")
        return HttpResponseRedirect(f"{self.url_of(tenant)}#resources")

    # --- verbs ---------------------------------------------------------------------------------------------------

    @plan_then_confirm(
        "Retry onboarding", form=ReasonForm, permission=OPERATE, plan=tenant_plans.plan_retry, icon="replay"
    )
    def retry(self, tenant: Tenant, form: ReasonForm) -> Run:
        """Onboard again a tenant whose first onboarding was undone."""
        return lifecycle.retry_onboarding(
            tenant=tenant, reason=form.reason_text, actor=form.actor, key=form.key_text, request_id=form.request_id
        )

    @plan_then_confirm(
        "Rotate credentials", form=ReasonForm, permission=HAND_OUT, plan=tenant_plans.plan_rotate, icon="key"
    )
    def rotate_credentials(self, tenant: Tenant, form: ReasonForm) -> Run:
        """A new database password; the old one stops working."""
        return lifecycle.rotate_credentials(
            tenant=tenant, reason=form.reason_text, actor=form.actor, key=form.key_text, request_id=form.request_id
        )


def health_of(tenant: Any) -> str:
    """`ok`, `attention`, or `unknown` when nobody ever looked; from the annotations of the list."""
    if tenant.findings_open or tenant.parked or tenant.state == TenantState.FAILED:
        return "attention"
    return "ok" if tenant.measured else "unknown"


def behind(tenant: Tenant) -> int | None:
    """How many published releases are newer than the tenant's; None when it is on none."""
    if not tenant.release:
        return None
    own = Release.objects.filter(name=tenant.release).values("published_at")[:1]
    return Release.objects.filter(state=Release.State.PUBLISHED, published_at__gt=Subquery(own)).count()


def token_of(tenant: Tenant, run: Run | None) -> str:
    """What the page's region shows, as one hash. See Note [One fragment, one token]."""
    shown = [tenant.version, *([run.pk, run.state, run.direction, run.control, run.step, run.attempts] if run else [])]
    return sha256(repr(shown).encode()).hexdigest()[:16]
