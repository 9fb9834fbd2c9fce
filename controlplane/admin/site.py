"""The admin site: what it lists, its navigation, and the pages that belong to no row."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.conf import settings
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.views.decorators.cache import never_cache
from unfold.dataclasses import SearchResult
from unfold.sites import UnfoldAdminSite

from controlplane.admin import live
from controlplane.admin.api_keys import ApiKeyAdmin
from controlplane.admin.audit import AuditAdmin
from controlplane.admin.base import ReadOnlyAdmin
from controlplane.admin.clusters import ClusterAdmin
from controlplane.admin.drift import DriftAdmin
from controlplane.admin.erasures import ErasureAdmin
from controlplane.admin.labels import LABELS
from controlplane.admin.operations import OperationAdmin, uuid_of
from controlplane.admin.overview import overview, tiles, token_of
from controlplane.admin.plans import PlanAdmin
from controlplane.admin.polling import to_login
from controlplane.admin.pools import PoolAdmin
from controlplane.admin.releases import ReleaseAdmin
from controlplane.admin.rollout_targets import RolloutTargetAdmin
from controlplane.admin.rollouts import RolloutAdmin
from controlplane.admin.tenants import TenantAdmin
from controlplane.models import ApiKey
from provisioning.models import AdoptedDrift, ErasureRequest, Release, Rollout, RolloutTarget, Run
from tenants.models import AuditEntry, Cluster, Plan, Pool, Tenant

FOUND = 20  # lines of the palette


class Noun(NamedTuple):
    """One kind of thing: its model, its pages, and its line in the navigation; none if its group has no name."""

    group: str
    title: str
    icon: str
    model: type[Model]
    admin: type[ReadOnlyAdmin]


NOUNS = (
    Noun("Fleet", "Tenants", "apartment", Tenant, TenantAdmin),
    Noun("Fleet", "Operations", "sync_alt", Run, OperationAdmin),
    Noun("Fleet", "Rollouts", "rocket_launch", Rollout, RolloutAdmin),
    Noun("Fleet", "Drift", "difference", AdoptedDrift, DriftAdmin),
    Noun("Fleet", "Erasure requests", "auto_delete", ErasureRequest, ErasureAdmin),
    Noun("", "Rollout targets", "rocket_launch", RolloutTarget, RolloutTargetAdmin),
    Noun("Platform", "Clusters", "database", Cluster, ClusterAdmin),
    Noun("Platform", "Pools", "grid_view", Pool, PoolAdmin),
    Noun("Platform", "Plans", "sell", Plan, PlanAdmin),
    Noun("Platform", "Releases", "deployed_code", Release, ReleaseAdmin),
    Noun("Access", "API keys", "key", ApiKey, ApiKeyAdmin),
    Noun("Access", "Audit log", "receipt_long", AuditEntry, AuditAdmin),
)


class OpsSite(UnfoldAdminSite):  # type: ignore[misc]  # Unfold ships no types
    """Read-only rows, a few verbs, and an overview. Nothing registers itself: NOUNS lists everything."""

    index_title = "Overview"
    enable_nav_sidebar = True

    def __init__(self) -> None:
        super().__init__(name="admin")
        for noun in NOUNS:
            self.register(noun.model, noun.admin)

    def of(self, model: type[Model]) -> ReadOnlyAdmin:
        """The pages of one kind of thing."""
        admin: ReadOnlyAdmin = self.get_model_admin(model)
        return admin

    def extra_urls(self) -> list[URLPattern]:
        return [
            path("live/", never_cache(self.overview_live), name="live"),
            path("help/", self.admin_view(self.help), name="help"),
        ]

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        context: dict[str, Any] = super().each_context(request)
        silent, last = live.silent_since() if self.has_permission(request) else (False, None)
        return {**context, "no_worker": silent, "worker_seen": last, "site_url": None}

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        context = {**self.each_context(request), **self.overview(request), **(extra_context or {})}
        request.current_app = self.name  # what Django's own index does
        return TemplateResponse(request, "admin/overview.html", {**context, "title": self.index_title})

    def app_index(self, request: HttpRequest, app_label: str, extra_context: Any = None) -> HttpResponse:
        """Django's page per package says nothing that the overview does not."""
        del request, app_label, extra_context
        return HttpResponseRedirect(reverse("admin:index"))

    def overview(self, request: HttpRequest) -> dict[str, Any]:
        shown = overview(request)
        token = token_of(shown)
        return {
            **shown,
            "tiles": tiles(shown["operations"]["counts"]) if shown.get("operations") else [],
            "trigger": live.trigger(live.SLOWEST) if shown["allowed"] else "",
            "live_url": f"{reverse('admin:live')}?shown={token}",
            "token": token,
        }

    def overview_live(self, request: HttpRequest) -> HttpResponse:
        """The overview's region. 204 when it would look the same."""
        if not self.has_permission(request):
            return to_login(reverse("admin:index"))
        shown = self.overview(request)
        if request.GET.get("shown") == shown["token"]:
            return HttpResponse(status=204)
        return TemplateResponse(request, "admin/parts/live_overview.html", shown)

    def help(self, request: HttpRequest) -> HttpResponse:
        """Keys, and what every state looks like."""
        context = {**self.each_context(request), "title": "Keys and colours", "legend": LABELS.items()}
        return TemplateResponse(request, "admin/help.html", context)

    def search(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The palette: pages by name, tenants by slug prefix or id, operations by id.

        Unfold keeps results in the cache for five minutes, under keys that no eraser knows; these are never kept.
        """
        del extra_context
        term = request.GET.get("s", "").strip()
        found = list(self._found(request, term))[:FOUND] if term else []
        template = "command_results" if "extended" in request.GET else "search_results"
        context = {"results": found, "page_counter": 0, "page_obj": {"count": len(found)}, "execution_time": 0.0}
        response = TemplateResponse(
            request, f"unfold/helpers/{template}.html", context, headers={"HX-Trigger": "search"}
        )
        response["Cache-Control"] = "no-store"
        return response

    def _found(self, request: HttpRequest, term: str) -> list[SearchResult]:
        found = [
            SearchResult(title=item["title"], description=group["title"], link=item["link"], icon=item["icon"])
            for group in navigation(request)
            for item in group["items"]
            if term.lower() in item["title"].lower()
        ]
        for model, prefix in ((Tenant, "ten"), (Run, "op")):
            admin = self.of(model)
            if admin.has_view_permission(request):
                rows = admin.page_queryset(request)
                known = uuid_of(term, prefix)
                if known is not None:
                    rows = rows.filter(pk=known)
                elif model is Tenant:
                    rows = rows.filter(slug__startswith=term.lower()).order_by("slug")
                else:
                    continue
                found += [
                    SearchResult(title=str(row), description=admin.noun, link=admin.url_of(row), icon="tag")
                    for row in rows[:FOUND]
                ]
        return found


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """The sidebar: only what this person may see."""
    groups: dict[str, list[dict[str, Any]]] = {
        "": [{"title": "Overview", "icon": "dashboard", "link": reverse("admin:index")}]
    }
    for noun in NOUNS:
        admin = site.of(noun.model)
        if noun.group and admin.has_view_permission(request):
            item = {"title": noun.title, "icon": noun.icon, "link": admin.list_url()}
            groups.setdefault(noun.group, []).append(item)
    return [{"title": title, "separator": False, "items": items} for title, items in groups.items()]


def environment(_request: HttpRequest) -> tuple[str, str]:
    """The badge at the top: where one is, in words and colour."""
    return settings.ENVIRONMENT, "danger" if settings.ENVIRONMENT == "production" else "info"


site = OpsSite()
