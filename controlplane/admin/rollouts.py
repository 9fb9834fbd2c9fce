"""Rollouts: the list, the page that refreshes itself, and what a person may do with one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import Count, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce, Now
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.cache import never_cache

from controlplane import rollout_plans
from controlplane.admin import live, rollout_live, rollout_squares, rollout_waves
from controlplane.admin.actors import with_actor_names
from controlplane.admin.base import ReadOnlyAdmin
from controlplane.admin.confirm import Verb, actor_of
from controlplane.admin.labels import label
from controlplane.admin.polling import to_login
from controlplane.admin.proposing import OPERATE, propose
from controlplane.admin.rehearsals import rehearsals_of
from controlplane.admin.rollout_verbs import APPROVE, RolloutVerbs
from controlplane.admin.words import NOTHING
from controlplane.templatetags.ops import badge, moment
from provisioning import lifecycle
from provisioning.models import OPEN_TARGETS, Rollout, RolloutState, RolloutTarget, TargetState
from provisioning.rollout.budget import Budget

ASKED = 5  # names of who may approve


class RolloutAdmin(RolloutVerbs):
    """One line a rollout, the newest first."""

    noun, nouns = "rollout", "rollouts"
    none_yet = "A rollout takes the fleet from the releases it is on to a new one, in waves. Publish a release first."
    page_template = "admin/rollout.html"

    list_display = ("name", "standing", "progress", "at_wave", "failures", "proposed", "approved", "ended")
    list_filter = ("state",)
    list_before_template = "admin/parts/propose_button.html"
    search_fields = ("release__name__startswith",)
    search_help_text = "Beginning of a release's name"
    ordering = ("-created_at",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Rollout]:
        rollouts: QuerySet[Rollout] = super().get_queryset(request)
        return with_actor_names(with_counts(rollouts), "proposed_by", "approved_by")

    def page_queryset(self, request: HttpRequest) -> QuerySet[Rollout]:
        rollouts: QuerySet[Rollout] = super(ReadOnlyAdmin, self).get_queryset(request)
        return with_actor_names(rollout_live.with_live(rollouts), "proposed_by", "approved_by")

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        url = reverse("admin:provisioning_rollout_propose") if request.user.has_perm(OPERATE) else ""
        return super().changelist_view(request, {"propose_url": url, **(extra_context or {})})

    @admin.display(description="release", ordering="release__name")
    def name(self, rollout: Rollout) -> SafeString:
        return format_html('{} <code class="tn-faint">{}…</code>', rollout.release.name, rollout.public_id[:12])

    @admin.display(description="state", ordering="state")
    def standing(self, rollout: Any) -> SafeString:
        return badge("rollout", rollout_live.state_of(rollout, rollout.as_of))

    @admin.display(description="targets")
    def progress(self, rollout: Any) -> SafeString | str:
        if rollout.state == RolloutState.DRAFT:
            return NOTHING
        shown = {"name": f"{rollout}: targets", "completed": rollout.over, "total": rollout.all_targets}
        tone = "bad" if rollout.failed_now else label("rollout", rollout_live.state_of(rollout, rollout.as_of)).tone
        bar = render_to_string("admin/parts/progress.html", {**shown, "unit": "targets", "tone": tone})
        return format_html("{} of {} {}", rollout.over, rollout.all_targets, bar if rollout.all_targets else "")

    @admin.display(description="wave")
    def at_wave(self, rollout: Rollout) -> str:
        return NOTHING if rollout.state == RolloutState.DRAFT else rollout_live.wave_of(rollout).removeprefix("wave ")

    @admin.display(description="failed")
    def failures(self, rollout: Any) -> SafeString | str:
        if not rollout.failed_now:
            return "0" if rollout.state != RolloutState.DRAFT else NOTHING
        return badge("target", "failed", str(rollout.failed_now))

    @admin.display(description="proposed", ordering="created_at")
    def proposed(self, rollout: Rollout) -> SafeString:
        return done_by(rollout.created_at, rollout, "proposed_by")

    @admin.display(description="approved", ordering="approved_at")
    def approved(self, rollout: Rollout) -> SafeString | str:
        return NOTHING if rollout.approved_at is None else done_by(rollout.approved_at, rollout, "approved_by")

    @admin.display(description="ended", ordering="finished_at")
    def ended(self, rollout: Rollout) -> SafeString:
        return moment(rollout.finished_at, "not yet")

    # --- the page ------------------------------------------------------------------------------------------------

    def extra_urls(self, name: str) -> Sequence[URLPattern]:
        # `live` is not behind the admin's own guard: that would answer with the login page, which htmx would swap in.
        return (
            path("propose/", self.guarded(lambda request: propose(request, self)), name=f"{name}_propose"),
            path("<uuid:object_id>/live/", never_cache(self.fragment), name=f"{name}_live"),
        )

    def row(self, request: HttpRequest, object_id: UUID | int) -> Any:
        rollout = super().row(request, object_id)
        if rollout is not None:
            rollout.own = is_own(rollout, request)
        return rollout

    def name_of(self, row: Rollout) -> str:
        return rollout_plans.subject_of(row)

    def page_context(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        return {**self.shown(request, row), **planned(row)}

    def confirm_context(self, verb: Verb, row: Any) -> dict[str, Any]:
        if verb.name != "approve":
            return {}
        objections = rollout_plans.objections_to(row)
        return {"detail": "admin/parts/rollout_plan.html", "objections": objections, **planned(row)}

    def shown(self, request: HttpRequest, rollout: Rollout) -> dict[str, Any]:
        """Everything that the fragment shows, from three queries; a few more for a draft, or a rehearsal."""
        waves = rollout_waves.waves_of(rollout)
        total = rollout_waves.together(waves)
        causes = rollout_waves.causes_of(rollout)
        targets = rollout_squares.targets_of(rollout, total.total)
        standing = rollout_live.standing_of(rollout, waves)
        named = rollout_squares.by_cause(targets)
        counts = {"blocked": total.blocked, "late": total.late, "skipped": total.states[TargetState.SKIPPED]}
        draft = rollout.state == RolloutState.DRAFT
        return {
            "rollout": rollout,
            "standing": standing,
            "tone": label("rollout", standing.state).tone,
            "wave_now": "" if draft else rollout_live.wave_of(rollout),
            "window": rollout_live.window_of(rollout),
            "waves": waves,
            "total": total,
            "budget": list(budget_left(rollout, waves, causes)),
            "forgiven": sum(cause.targets - cause.charged for cause in causes),
            "causes": [
                (cause, named.get(cause.key, ()), cause.targets - len(named.get(cause.key, ()))) for cause in causes
            ],
            "squares": rollout_squares.squares(targets) if total.total <= rollout_squares.MOST_SQUARES else [],
            "most_squares": rollout_squares.MOST_SQUARES,
            "apart": rollout_squares.apart(rollout, targets, counts),
            "targets_url": rollout_squares.list_url(rollout),
            "verbs": self.links(request, rollout, allowed(rollout, request, total)),
            "own": draft and is_own(rollout, request),
            "approvers": approvers(rollout) if draft and cannot_approve(rollout, request) else None,
            **rehearsals_of(rollout),
            "trigger": live.trigger(standing.pace_s),
            "live_url": f"{self.url_of(rollout, 'live')}?shown={standing.token}",
        }

    def fragment(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """The region of the page that refreshes itself. 204 when it would look the same."""
        page = reverse("admin:provisioning_rollout_change", args=[object_id])
        if not self.admin_site.has_permission(request) or not self.has_view_permission(request):
            return to_login(page)
        rollout = self.page_queryset(request).filter(pk=object_id).first()
        if rollout is None:
            return TemplateResponse(request, "admin/parts/gone.html", {"noun": self.noun, "list_url": self.list_url()})
        if rollout.finished_at is None and request.GET.get("shown") == rollout_live.token_of(rollout):
            return HttpResponse(status=204)
        return TemplateResponse(request, "admin/parts/live_rollout.html", self.shown(request, rollout))


def with_counts(rollouts: QuerySet[Rollout]) -> QuerySet[Rollout]:
    """Annotate how many targets there are, are through, and have failed; and the clock. Without the long plan."""
    targets = RolloutTarget.objects.filter(rollout=OuterRef("pk")).order_by().values("rollout")

    def number(which: Q) -> Coalesce:
        counted = targets.annotate(number=Count("pk", filter=which)).values("number")
        return Coalesce(Subquery(counted, output_field=IntegerField()), 0)

    names: QuerySet[Rollout] = rollouts.select_related("release").only(
        "id", "state", "pause_reason", "wave", "last_wave", "starts_at", "window", "proposed_by", "approved_by",
        "created_at", "approved_at", "finished_at", "release__name",
    )  # fmt: skip
    return names.annotate(
        as_of=Now(),
        all_targets=number(Q()),
        over=number(~Q(state__in=[str(state) for state in OPEN_TARGETS])),
        failed_now=number(Q(state=TargetState.FAILED)),
    )


def done_by(at: datetime, rollout: Rollout, field: str) -> SafeString:
    """When, and by whom."""
    name = getattr(rollout, f"{field}_name") or getattr(rollout, field)
    return format_html('{}<bdi class="tn-by tn-faint">{}</bdi>', moment(at), name)


def planned(rollout: Rollout) -> dict[str, Any]:
    """The plan that was proposed, for parts/rollout_plan.html."""
    plan = rollout.plan
    return {
        "proposed": plan,
        "plan_digest": rollout.plan_digest,
        "plan_waves": [(wave["number"], rollout_plans.tiers_of(wave["targets"])) for wave in plan.get("waves", [])],
        "plan_budget": rollout_plans.budget_of(plan.get("terms", {}).get("max_failures", {})),
        "left_out_more": plan.get("left_out_count", 0) - len(plan.get("left_out", [])),
    }


def budget_left(
    rollout: Rollout, waves: Iterable[rollout_waves.Wave], causes: Iterable[rollout_waves.Cause]
) -> Iterator[rollout_waves.Spent]:
    return rollout_waves.spent(Budget.of(rollout.max_failures), rollout_waves.toll_of(rollout, waves, causes))


def allowed(rollout: Rollout, request: HttpRequest, total: rollout_waves.Wave) -> list[str]:
    """What every door offers, but for what this person may not, or what there is nothing for."""
    verbs = lifecycle.actions_of_rollout(rollout)
    nothing = {"retry_failed"} if not total.states[TargetState.FAILED] else set()
    if is_own(rollout, request):
        nothing.add("approve")
    return [verb for verb in verbs if verb not in nothing]


def is_own(rollout: Rollout, request: HttpRequest) -> bool:
    """Whether the person who looks proposed it, and so may not approve it."""
    return rollout.proposed_by == str(actor_of(request)) and not getattr(settings, "TENURE_SINGLE_OPERATOR", False)


def cannot_approve(rollout: Rollout, request: HttpRequest) -> bool:
    return is_own(rollout, request) or not request.user.has_perm(APPROVE)


def approvers(rollout: Rollout) -> list[str]:
    """The first who may approve it, by name."""
    people = get_user_model().objects.with_perm(APPROVE, backend="django.contrib.auth.backends.ModelBackend")
    names = people.filter(is_staff=True).order_by("username").values_list("pk", "username")
    return [name for pk, name in names[: ASKED + 1] if f"user:{pk}" != rollout.proposed_by][:ASKED]
