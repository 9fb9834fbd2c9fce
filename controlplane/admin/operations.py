"""Operations: the list, the page that refreshes itself, and the verbs of one that is open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import admin
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.cache import never_cache

from controlplane import run_plans
from controlplane.admin import live
from controlplane.admin.actors import actor, with_actor_names
from controlplane.admin.base import ReadOnlyAdmin
from controlplane.admin.confirm import ReasonForm, VerbForm, plan_then_confirm
from controlplane.admin.labels import label
from controlplane.admin.polling import to_login
from controlplane.admin.timeline import timeline
from controlplane.admin.words import NOTHING
from controlplane.templatetags.ops import badge, moment
from provisioning import lifecycle
from provisioning.models import Run, RunEvent, RunState, RunStep, StepState

OPERATE = "tenants.operate_tenant"


class ForceForm(ReasonForm):
    """The end that a person declares."""

    as_state = forms.ChoiceField(
        label="Declare it",
        choices=[(RunState.SUCCEEDED, "succeeded"), (RunState.FAILED, "failed")],
        help_text="Nothing is run or removed. Use it when you have put things right by hand.",
    )
    field_order = ["as_state", "reason"]

    @property
    def end(self) -> Literal[RunState.SUCCEEDED, RunState.FAILED]:
        return RunState.SUCCEEDED if self.cleaned_data["as_state"] == RunState.SUCCEEDED else RunState.FAILED


class OpenFilter(admin.SimpleListFilter):
    """Open, in need of a person, late, or ended."""

    title = "attention"
    parameter_name = "show"

    def lookups(self, _request: HttpRequest, _model_admin: Any) -> list[tuple[str, str]]:
        return [("open", "open"), ("parked", "needs a person"), ("late", "past its deadline"), ("ended", "ended")]

    def queryset(self, _request: HttpRequest, runs: QuerySet[Run]) -> QuerySet[Run]:
        match self.value():
            case "open":
                return runs.filter(finished_at=None)
            case "parked":
                return runs.filter(state=RunState.PARKED)
            case "late":
                return runs.filter(deadline_at__lt=Now())
            case "ended":
                return runs.exclude(finished_at=None)
        return runs


class OperationAdmin(ReadOnlyAdmin):
    """Everything that was ever asked for, newest first."""

    noun, nouns = "operation", "operations"
    none_yet = "An operation is one verb at work on one tenant. The first begins when a tenant is onboarded."
    page_template = "admin/operation.html"
    verbs = ("pause", "resume", "retry", "skip", "undo", "cancel", "force_complete")

    list_display = ("operation", "of_tenant", "standing", "at_step", "age", "next", "asked_by")
    list_filter = (OpenFilter, "state", "workflow")
    list_select_related = ("tenant",)
    search_fields = ("tenant__slug__startswith",)
    search_help_text = "Slug of a tenant, or op_…"
    ordering = ("-created_at",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Run]:
        done = Q(state__in=[StepState.SUCCEEDED, StepState.SKIPPED])
        of_run = RunStep.objects.filter(run=OuterRef("pk"), direction=OuterRef("direction")).order_by().values("run")
        runs: QuerySet[Run] = super().get_queryset(request)
        named: QuerySet[Run] = with_actor_names(runs).annotate(
            steps_total=Subquery(of_run.annotate(n=Count("pk")).values("n")),
            steps_done=Subquery(of_run.annotate(n=Count("pk", filter=done)).values("n")),
            late=Q(deadline_at__lt=Now()),
        )
        return named

    def page_queryset(self, request: HttpRequest) -> QuerySet[Run]:
        runs: QuerySet[Run] = super(ReadOnlyAdmin, self).get_queryset(request)
        return with_actor_names(live.with_standing(runs.select_related("tenant", "parent")))

    def get_search_results(self, request: HttpRequest, runs: QuerySet[Run], term: str) -> tuple[QuerySet[Run], bool]:
        if (found := uuid_of(term, "op")) is not None:
            return runs.filter(pk=found), False
        results: tuple[QuerySet[Run], bool] = super().get_search_results(request, runs, term)
        return results

    @admin.display(description="operation", ordering="created_at")
    def operation(self, run: Run) -> SafeString:
        return format_html('{} <code class="tn-faint">{}…</code>', run.workflow, run.public_id[:11])

    @admin.display(description="tenant")
    def of_tenant(self, run: Run) -> SafeString | str:
        return format_html("<bdi>{}</bdi>", run.tenant.slug) if run.tenant else NOTHING

    @admin.display(description="state", ordering="state")
    def standing(self, run: Run) -> SafeString:
        late = badge("run", "stalled", "late") if run.late else ""  # type: ignore[attr-defined]  # annotated
        return format_html("{} {}", badge("run", live.state_of(run)), late)

    @admin.display(description="step")
    def at_step(self, run: Run) -> SafeString | str:
        total, done = run.steps_total or 0, run.steps_done or 0  # type: ignore[attr-defined]  # annotated
        if run.ended:
            return f"{done} of {total} done"
        return format_html('{} <span class="tn-faint tn-nowrap">{} of {} done</span>', run.step, done, total)

    @admin.display(description="asked for", ordering="created_at")
    def age(self, run: Run) -> SafeString:
        return moment(run.created_at)

    @admin.display(description="next attempt or end")
    def next(self, run: Run) -> SafeString | str:
        if run.finished_at:
            return moment(run.finished_at)
        if run.state == RunState.RUNNING and not run.held:
            return moment(run.run_at)
        return "a person" if run.state in (RunState.PARKED, RunState.PAUSED) else NOTHING

    @admin.display(description="asked by")
    def asked_by(self, run: Run) -> SafeString:
        return actor(run)

    # --- the page ------------------------------------------------------------------------------------------------

    def extra_urls(self, name: str) -> Sequence[URLPattern]:
        # Not behind the admin's own guard: it would answer with the login page, and htmx would swap that in.
        return (path("<uuid:object_id>/live/", never_cache(self.fragment), name=f"{name}_live"),)

    def page_context(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        return {**self.shown(request, row), "curl": self.curl(request, row)}

    def name_of(self, row: Run) -> str:
        return run_plans.subject_of(row)

    def shown(self, request: HttpRequest, run: Run) -> dict[str, Any]:
        """Everything that the fragment shows, from three queries; one more for a queued or parked run."""
        steps = list(RunStep.objects.filter(run=run).order_by("direction", "position"))
        events = list(RunEvent.objects.filter(run=run).order_by("id"))
        standing = live.standing_of(run, steps, blocked_by=live.blocker_of(run))
        return {
            "run": run,
            "standing": standing,
            "timeline": timeline(run, steps, events, now=standing.as_of),
            "events": events,
            "verbs": self.links(request, run, allowed(run)),
            "tone": label("run", standing.state).tone,
            "tenant_url": settings.TENANT_URL.format(slug=run.tenant.slug) if run.tenant else "",
            "may_operate": request.user.has_perm(OPERATE),
            "trigger": live.trigger(standing.pace_s),
            "live_url": f"{self.url_of(run, 'live')}?shown={standing.token}",
        }

    def fragment(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """The region of the page that refreshes itself. 204 when it would look the same."""
        page = reverse("admin:provisioning_run_change", args=[object_id])
        if not self.admin_site.has_permission(request) or not self.has_view_permission(request):
            return to_login(page)
        run = self.page_queryset(request).filter(pk=object_id).first()
        if run is None:
            return TemplateResponse(request, "admin/parts/gone.html", {"noun": self.noun, "list_url": self.list_url()})
        if not run.ended and request.GET.get("shown") == live.token_of(run, stalled=bool(live.stalled(run))):
            return HttpResponse(status=204)
        return TemplateResponse(request, "admin/parts/live_operation.html", self.shown(request, run))

    def curl(self, request: HttpRequest, run: Run) -> str:
        url = request.build_absolute_uri(f"/api/v1/operations/{run.public_id}")
        return f'curl -H "Authorization: Bearer $TENURE_KEY" {url}'

    # --- verbs ---------------------------------------------------------------------------------------------------

    @plan_then_confirm("Pause", permission=OPERATE, plan=run_plans.plan_pause, icon="pause")
    def pause(self, run: Run, form: VerbForm) -> Run:
        """Stop at the next step boundary."""
        lifecycle.pause(run, actor=form.actor)
        return run

    @plan_then_confirm("Resume", permission=OPERATE, plan=run_plans.plan_resume, icon="play_arrow")
    def resume(self, run: Run, form: VerbForm) -> Run:
        """Go on after a pause."""
        lifecycle.resume(run, actor=form.actor)
        return run

    @plan_then_confirm("Retry", form=ReasonForm, permission=OPERATE, plan=run_plans.plan_retry, icon="replay")
    def retry(self, run: Run, form: ReasonForm) -> Run:
        """Try the step again at which a parked operation stopped."""
        lifecycle.retry(run, reason=form.reason_text, actor=form.actor)
        return run

    @plan_then_confirm(
        "Skip a step of",
        label="Skip this step",
        form=ReasonForm,
        permission=OPERATE,
        plan=run_plans.plan_skip,
        icon="skip_next",
    )
    def skip(self, run: Run, form: ReasonForm) -> Run:
        """Go on without the step at which it stopped."""
        lifecycle.skip(run, reason=form.reason_text, actor=form.actor)
        return run

    @plan_then_confirm(
        "Undo",
        label="Undo everything",
        form=ReasonForm,
        permission=OPERATE,
        plan=run_plans.plan_undo,
        icon="undo",
        danger=True,
    )
    def undo(self, run: Run, form: ReasonForm) -> Run:
        """Take back what a parked operation made."""
        lifecycle.undo(run, reason=form.reason_text, actor=form.actor)
        return run

    @plan_then_confirm(
        "Cancel", form=ReasonForm, permission=OPERATE, plan=run_plans.plan_cancel, icon="close", danger=True
    )
    def cancel(self, run: Run, form: ReasonForm) -> Run:
        """Turn back at the next step boundary."""
        lifecycle.cancel(run, reason=form.reason_text, actor=form.actor)
        return run

    @plan_then_confirm(
        "Force the end of",
        label="Force its end",
        form=ForceForm,
        permission=OPERATE,
        plan=run_plans.plan_force_complete,
        icon="gavel",
        danger=True,
    )
    def force_complete(self, run: Run, form: ForceForm) -> Run:
        """Declare a parked operation ended, when its state was put right by hand."""
        lifecycle.force_complete(run, as_state=form.end, reason=form.reason_text, actor=form.actor)
        return run


def allowed(run: Run) -> list[str]:
    """What may be done now: what every door offers, and here alone to declare the end of a parked operation."""
    return [*lifecycle.actions_of(run), *(["force_complete"] if run.state == RunState.PARKED else [])]


def uuid_of(term: str, prefix: str) -> UUID | None:
    """The UUID in `op_<32 hex>` or in plain form, or None."""
    try:
        return UUID(term.strip().removeprefix(f"{prefix}_"))
    except ValueError:
        return None
