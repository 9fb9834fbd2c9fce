"""Erasure requests: the list by due date, the page that refreshes itself, and the papers that come of one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import Case, DurationField, F, Q, QuerySet, Value, When
from django.db.models.functions import Coalesce, Now
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.cache import never_cache

from controlplane import erasure_plans
from controlplane.admin import erasure_live, live
from controlplane.admin.confirm import Verb, actor_of
from controlplane.admin.erasure_intake import import_page, request_page
from controlplane.admin.erasure_verbs import APPROVE, ASK, ErasureVerbs
from controlplane.admin.labels import label
from controlplane.admin.polling import to_login
from controlplane.admin.words import NOTHING
from controlplane.certificate_pdf import pdf
from controlplane.templatetags.ops import badge, moment
from provisioning import lifecycle
from provisioning.erasure.acting import VERBS
from provisioning.erasure.clock import UNKNOWN
from provisioning.erasure.deadlines import latest_start
from provisioning.models import ENDED_REQUESTS, ErasureKind, ErasureRequest, ErasureState
from tenants.states import Tier

NAMED = 5  # names of who may approve
DUE = Coalesce(F("extended_until"), F("due_at"))
OPEN = ~Q(state__in=[str(state) for state in ENDED_REQUESTS])
SHOW = {
    "open": OPEN,
    "overdue": OPEN & Q(settled_at=None, due__lte=Now()),
    "approval": Q(state=ErasureState.AWAITING_APPROVAL),
    "attention": OPEN & (~Q(attention="") | Q(state=ErasureState.BLOCKED)),
    "work": Q(state__in=[str(state) for state in erasure_live.MOVES]),
    "ended": ~OPEN,
}
"""The same conditions count on the Overview. `due` is annotated."""
WORDS = {"approval": "waits for approval", "attention": "needs a person", "work": "at work"}


class ShowFilter(admin.SimpleListFilter):
    """Open, late, waiting for a person, or ended."""

    title, parameter_name = "attention", "show"

    def lookups(self, _request: HttpRequest, _model_admin: Any) -> list[tuple[str, str]]:
        return [(name, WORDS.get(name, name)) for name in SHOW]

    def queryset(self, _request: HttpRequest, rows: QuerySet[Any]) -> QuerySet[Any]:
        shown = SHOW.get(self.value() or "")
        return rows if shown is None else rows.filter(shown)


class ErasureAdmin(ErasureVerbs):
    """One line a request; what is due first stands first."""

    noun, nouns = "erasure request", "erasure requests"
    none_yet = (
        "A request names a tenant, or one person within one, and a date. Two people are needed: one proposes what"
    )
    none_yet += " is erased, another approves it."
    page_template = "admin/erasure.html"

    list_display = ("whose", "standing", "due", "latest", "asked_by", "approved_by_whom", "made")
    list_filter = (ShowFilter, "kind")
    list_before_template = "admin/parts/erasure_button.html"
    search_fields = ("tenant__slug__startswith",)
    search_help_text = "Beginning of a tenant's slug"
    ordering = (F("finished_at").desc(nulls_first=True), DUE.asc())  # open ones first, by what is due first

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Annotated with `due`, and with how long such erasures take: from one query for the whole list."""
        if not hasattr(request, "usual_erasures"):
            request.usual_erasures = lifecycle.usual_erasures()  # type: ignore[attr-defined]  # Django's is open
        known = request.usual_erasures  # type: ignore[attr-defined]
        whens = [When(kind=kind, tenant__plan__tier=tier, then=Value(took)) for (kind, tier), took in known.items()]
        rows: QuerySet[ErasureRequest] = super(ErasureVerbs, self).get_queryset(request)
        took = Case(*whens, default=Value(UNKNOWN), output_field=DurationField())
        return erasure_live.with_people(rows.select_related("tenant__plan").annotate(due=DUE, took=took)).defer(
            "counted", "certificate", "identifiers"
        )

    def page_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[ErasureRequest] = super(ErasureVerbs, self).get_queryset(request)
        joined = rows.select_related("tenant__plan", "run", "merged_into", "follows").annotate(due=DUE)
        return erasure_live.with_people(joined.defer("identifiers", "certificate"))

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        url = reverse("admin:provisioning_erasurerequest_request") if request.user.has_perm(ASK) else ""
        return super().changelist_view(request, {"request_url": url, **(extra_context or {})})

    @admin.display(description="whose data", ordering="tenant__slug")
    def whose(self, row: Any) -> SafeString:
        what = "the whole tenant" if row.kind == ErasureKind.TENANT else "one person"
        return format_html('<bdi>{}</bdi><span class="tn-sub">{}</span>', row.tenant.slug, what)

    @admin.display(description="state", ordering="state")
    def standing(self, row: Any) -> SafeString:
        more = badge("run", "parked", "needs a person") if row.attention else ""
        return format_html("{} {}", badge("erasure", row.state), more)

    @admin.display(description="due before", ordering="due")
    def due(self, row: Any) -> SafeString:
        known = {(row.kind, tier): row.took for tier in Tier}
        state = erasure_live.deadline_of(row, row.as_of, known).state
        late = badge("deadline", state) if state not in {"", "on_time"} else ""
        return format_html("{} {}", moment(row.due), late)

    @admin.display(description="latest safe start")
    def latest(self, row: Any) -> SafeString | str:
        begun = row.destroy_started_at or row.state in ENDED_REQUESTS
        return NOTHING if begun else moment(latest_start(row.due, p95=row.took))

    @admin.display(description="asked by")
    def asked_by(self, row: Any) -> SafeString | str:
        return by(row, "asked")

    @admin.display(description="approved by")
    def approved_by_whom(self, row: Any) -> SafeString | str:
        return by(row, "approved")

    @admin.display(description="received", ordering="received_at")
    def made(self, row: Any) -> SafeString:
        return moment(row.received_at)

    # --- the page ------------------------------------------------------------------------------------------------

    def extra_urls(self, name: str) -> Sequence[URLPattern]:
        # `live` is not behind the admin's own guard: that would answer with the login page, which htmx would swap in.
        return (
            path("request/", self.guarded(lambda request: request_page(request, self)), name=f"{name}_request"),
            path("import/", self.guarded(lambda request: import_page(request, self)), name=f"{name}_import"),
            path("<uuid:object_id>/live/", never_cache(self.fragment), name=f"{name}_live"),
            path(
                "<uuid:object_id>/certificate/<uuid:paper>/<str:form>/", self.guarded(self.paper), name=f"{name}_paper"
            ),
        )

    def name_of(self, row: ErasureRequest) -> str:
        return erasure_plans.subject_of(row)

    def page_context(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        return self.shown(request, row)

    def confirm_context(self, verb: Verb, row: Any) -> dict[str, Any]:
        if verb.name not in {"propose", "approve"}:
            return {}
        return {"detail": "admin/parts/erasure_plan.html", **planned(row)}

    def shown(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """Everything that the fragment shows."""
        lines = erasure_live.lines_of(row)
        deadline = erasure_live.deadline_of(row, row.as_of)
        waits = row.state == ErasureState.AWAITING_APPROVAL
        own = is_own(row, request)
        return {
            "erasure": row,
            "sentence": erasure_live.sentence(row),
            "deadline": deadline,
            "deadline_tone": label("deadline", deadline.state or "on_time").tone,
            "grace": erasure_live.grace_of(row),
            "people": {field: name_of(row, field) for field in ("asked", "proposed", "approved")},
            "lines": lines,
            "papers": erasure_live.papers_of(row),
            "rechecks": erasure_live.rechecks_of(row),
            "holds": erasure_live.holds_of(row),
            "verbs": self.links(request, row, allowed(row, own=own)),
            "own": own and waits,
            "approvers": approvers(row) if waits and (own or not request.user.has_perm(APPROVE)) else None,
            "merged": [(each, self.url_of(each)) for each in (row.merged_into, row.follows) if each],
            "tenant_url": reverse("admin:tenants_tenant_change", args=[row.tenant_id]),
            "trigger": live.trigger(erasure_live.pace_of(row)),
            "live_url": f"{self.url_of(row, 'live')}?shown={erasure_live.token_of(row, lines, deadline)}",
            **planned(row),
        }

    def fragment(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """The region of the page that refreshes itself. 204 when it would look the same."""
        page = reverse("admin:provisioning_erasurerequest_change", args=[object_id])
        if not self.admin_site.has_permission(request) or not self.has_view_permission(request):
            return to_login(page)
        row = self.page_queryset(request).filter(pk=object_id).first()
        if row is None:
            return TemplateResponse(request, "admin/parts/gone.html", {"noun": self.noun, "list_url": self.list_url()})
        token = erasure_live.token_of(row, erasure_live.lines_of(row), erasure_live.deadline_of(row, row.as_of))
        if request.GET.get("shown") == token:
            return HttpResponse(status=204)
        return TemplateResponse(request, "admin/parts/live_erasure.html", self.shown(request, row))

    def paper(self, request: HttpRequest, object_id: UUID, paper: UUID, form: str) -> HttpResponse:
        """A certificate to keep: `json`, byte for byte as it was signed, or `pdf`."""
        row = self.row(request, object_id)
        found = lifecycle.certificates_of_erasure(row).filter(pk=paper).first() if row is not None else None
        if found is None or form not in {"json", "pdf"}:
            raise Http404
        body = pdf(json.loads(found.document)) if form == "pdf" else found.document
        name = f"erasure-{found.stage}-{found.pk}.{form}"
        kept = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
        return HttpResponse(body, content_type=f"application/{form}", headers=kept)


def by(row: Any, field: str) -> SafeString | str:
    """Whose word it was; a dash for nobody's yet."""
    name = name_of(row, field)
    return format_html('<bdi class="tn-by">{}</bdi>', name) if name else NOTHING


def name_of(row: Any, field: str) -> str:
    """A user's name, the owner of an API key, a command; "" for nobody."""
    actor = getattr(row, field) or ""
    return str(getattr(row, f"{field}_name") or actor.partition(":")[2])


def planned(row: ErasureRequest) -> dict[str, Any]:
    """What was proposed, else what was counted last: for parts/erasure_plan.html."""
    plan = lifecycle.plan_of_erasure(row)
    document = plan.document if plan is not None else row.counted
    return {
        "document": document,
        "frozen": plan,
        "plan_digest": f"sha256:{bytes(plan.digest).hex()}" if plan is not None else "",
        "blockers": list(erasure_plans.blockers_of(document)) if document else [],
    }


def allowed(row: ErasureRequest, *, own: bool) -> list[str]:
    """What every door offers, but for what this person may not, or what there is nothing for."""
    verbs = lifecycle.actions_of_erasure(row)
    if row.state in VERBS["hold_records"]:
        verbs.append("hold_records")
    if row.state in VERBS["release_records"] and lifecycle.releasable_holds(row).exists():
        verbs.append("release_records")
    counted = row.counted is not None or row.plan_digest is not None
    nothing = set() if counted else {"propose", "hold_records"}
    if own:
        nothing.add("approve")
    if row.extended_until is not None or row.policy != "eu":
        nothing.add("extend")
    return [verb for verb in verbs if verb not in nothing]


def is_own(row: Any, request: HttpRequest) -> bool:
    """Whether the person who looks asked for it or proposed it, and so may not approve it."""
    return lifecycle.answerable_for(actor_of(request)) in {row.asked, row.proposed}


def approvers(row: Any) -> list[str]:
    """The first who may approve it, by name."""
    people = get_user_model().objects.with_perm(APPROVE, backend="django.contrib.auth.backends.ModelBackend")
    names = people.filter(is_staff=True).order_by("username").values_list("pk", "username")
    return [name for pk, name in names[: NAMED + 2] if f"user:{pk}" not in {row.asked, row.proposed}][:NAMED]
