"""The targets of a rollout: a list for any question, and a page for each with what went wrong and the way out."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from controlplane import rollout_plans
from controlplane.admin.base import Crumb, ReadOnlyAdmin
from controlplane.admin.confirm import ReasonForm, plan_then_confirm
from controlplane.admin.drift import drift_url
from controlplane.admin.operations import uuid_of
from controlplane.admin.proposing import OPERATE
from controlplane.admin.rollout_squares import name_of, state_of
from controlplane.admin.tenant_filters import LinkedFilter
from controlplane.admin.words import NOTHING, duration
from controlplane.templatetags.ops import badge, moment
from provisioning import lifecycle
from provisioning.databases.releases import TEXTS
from provisioning.models import RolloutTarget, TargetState
from provisioning.rollout.budget import DRIFT


class RolloutFilter(LinkedFilter):
    title, parameter_name, field = "rollout", "rollout", "rollout"

    def queryset(self, request: HttpRequest, targets: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() is not None and uuid_of(str(self.value()), "rol") is None:
            return targets.none()
        return super().queryset(request, targets)


class WaveFilter(LinkedFilter):
    title, parameter_name, field = "wave", "wave", "wave"

    def queryset(self, request: HttpRequest, targets: QuerySet[Any]) -> QuerySet[Any]:
        return super().queryset(request, targets) if str(self.value() or 0).isdigit() else targets.none()


class ClassFilter(LinkedFilter):
    title, parameter_name, field = "class", "class", "error__class"


class BlockedFilter(admin.SimpleListFilter):
    """Those that wait for an operation on the same tenant or pool."""

    title = "blocked"
    parameter_name = "blocked"

    def lookups(self, _request: HttpRequest, _model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "by an operation")]

    def queryset(self, _request: HttpRequest, targets: QuerySet[Any]) -> QuerySet[Any]:
        waits = targets.filter(state=TargetState.WAITING, blocked_by__isnull=False)
        return waits if self.value() == "yes" else targets


class RolloutTargetAdmin(ReadOnlyAdmin):
    """One line a target, in the order of their turns. Whoever may see a rollout may see its targets."""

    noun, nouns = "target", "rollout targets"
    none_yet = "A target is a tenant, or a pool with all its tenants. They are frozen when a rollout is approved."
    page_template = "admin/rollout_target.html"
    pk_converter = "int"
    verbs = ("skip",)

    list_display = ("name", "standing", "in_wave", "why", "on_release", "attempts", "took", "ended")
    list_filter = ("state", BlockedFilter, "late", RolloutFilter, WaveFilter, ClassFilter)
    list_select_related = ("tenant", "pool", "cluster", "source")
    search_fields = ("tenant__slug__startswith", "pool__schema__startswith")
    search_help_text = "Beginning of a tenant's slug or a pool's name"
    ordering = ("-rollout__created_at", "position")

    def has_view_permission(self, request: HttpRequest, _obj: Any = None) -> bool:
        return bool(request.user.has_perm("provisioning.view_rollout"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[RolloutTarget]:
        targets: QuerySet[RolloutTarget] = super().get_queryset(request)
        return targets.defer("cursor", *(f"source__{name}" for name in TEXTS))

    def page_queryset(self, request: HttpRequest) -> QuerySet[RolloutTarget]:
        texts = [f"{release}__{name}" for release in ("source", "rollout__release") for name in TEXTS]
        targets: QuerySet[RolloutTarget] = super(ReadOnlyAdmin, self).get_queryset(request)
        related = targets.select_related("rollout__release", "source", "tenant", "pool", "cluster")
        return related.defer("cursor", "rollout__plan", *texts)

    @admin.display(description="target", ordering="position")
    def name(self, target: RolloutTarget) -> SafeString:
        return format_html("<bdi>{}</bdi>", named(target))

    @admin.display(description="state", ordering="state")
    def standing(self, target: RolloutTarget) -> SafeString:
        late = badge("run", "stalled", "late") if target.late else ""
        return format_html("{} {}", badge("target", state_of(target.state, target.blocked_by)), late)

    @admin.display(description="wave", ordering="wave")
    def in_wave(self, target: RolloutTarget) -> str:
        return str(target.wave) if target.wave else "canary"

    @admin.display(description="why")
    def why(self, target: RolloutTarget) -> SafeString | str:
        if target.state == TargetState.SKIPPED:
            return format_html('<span class="tn-sub">{}</span>', target.reason)
        if not target.error:
            return NOTHING
        said = target.error
        return format_html(
            '<code>{}</code><span class="tn-sub">{}</span>', said.get("code", ""), said.get("detail", "")
        )

    @admin.display(description="from")
    def on_release(self, target: RolloutTarget) -> str:
        return target.source.name

    @admin.display(description="took", ordering="seconds")
    def took(self, target: RolloutTarget) -> str:
        return duration(target.seconds)

    @admin.display(description="ended", ordering="finished_at")
    def ended(self, target: RolloutTarget) -> SafeString:
        return moment(target.finished_at, "not yet")

    # --- the page ------------------------------------------------------------------------------------------------

    def name_of(self, row: RolloutTarget) -> str:
        return named(row)

    def crumbs_of(self, row: Any) -> list[Crumb]:
        rollout = reverse("admin:provisioning_rollout_change", args=[row.rollout_id])
        return [
            ("Rollouts", reverse("admin:provisioning_rollout_changelist")),
            (rollout_plans.subject_of(row.rollout).capitalize(), rollout),
        ]

    def page_context(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        open_ = "skip_target" in lifecycle.actions_of_rollout(row.rollout) and row.state in rollout_plans.SKIPPABLE
        owner = ("tenant", row.tenant_id) if row.tenant_id else ("pool", row.pool_id)
        return {
            "target": row,
            "state": state_of(row.state, row.blocked_by),
            "owner_url": reverse(f"admin:tenants_{owner[0]}_change", args=[owner[1]]),
            "drift_url": drift_url(request, owner[1]) if (row.error or {}).get("class") == DRIFT else "",
            "verbs": self.links(request, row, ["skip"] if open_ else []),
        }

    @plan_then_confirm("Skip", form=ReasonForm, permission=OPERATE, plan=rollout_plans.plan_skip, icon="skip_next")
    def skip(self, target: RolloutTarget, form: ReasonForm) -> str:
        """Leave one target where it is, so that the rollout can end without it."""
        lifecycle.skip_target(target, reason=form.reason_text, actor=form.actor)
        return self.url_of(target)


def named(target: RolloutTarget) -> str:
    return name_of(
        target.tenant.slug if target.tenant else None, target.pool.schema if target.pool else None, target.cluster.name
    )
