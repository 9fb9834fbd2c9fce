"""Pools: tables that tenants share, how full they are, and whether new tenants may come."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.db.models import F, FloatField, QuerySet
from django.db.models.functions import Cast
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from controlplane.admin.base import ReadOnlyAdmin
from controlplane.admin.confirm import VerbForm, plan_then_confirm
from controlplane.admin.drift import drift_url
from controlplane.admin.words import NOTHING
from controlplane.templatetags.ops import badge, moment
from provisioning import lifecycle
from provisioning.models import Release
from provisioning.workflows.plans import VerbPlan
from tenants.findings import Finding, Severity
from tenants.models import Pool
from tenants.placement import pool_bucket, pool_group, pool_role

CHANGE = "tenants.change_pool"

EFFECTS: dict[str, str] = {
    Pool.State.OPEN: "new tenants may be placed in it",
    Pool.State.DRAINING: "no new tenant is placed in it; those that are there stay, and go on working",
    Pool.State.CLOSED: "no new tenant is placed in it; those that are there stay, and go on working",
}


class CapacityForm(VerbForm):
    """How many tenants the pool may hold."""

    capacity = forms.IntegerField(
        min_value=1, max_value=1_000_000, help_text="Below what it holds it only stops new tenants."
    )


def plan_to(state: Pool.State) -> Any:
    """The plan of setting a pool's state: it moves nobody."""

    def plan(pool: Pool) -> VerbPlan:
        same = Finding("STATE_CONFLICT", Severity.ERROR, str(pool), f"The pool is {state} already.", "Go back.")
        return VerbPlan(
            verb="pool.change",
            subject=str(pool),
            steps=(f"set {pool} on {pool.cluster} from {pool.state} to {state}: {EFFECTS[state]}",),
            blockers=(same,) if pool.state == state else (),
        )

    return plan


def plan_capacity(pool: Pool) -> VerbPlan:
    return VerbPlan(
        verb="pool.change",
        subject=str(pool),
        steps=(f"change the capacity of {pool} on {pool.cluster}, which is {pool.capacity} and holds {pool.placed}",),
    )


def plan_rotate(pool: Pool) -> VerbPlan:
    return VerbPlan(
        verb="pool.rotate_password",
        subject=str(pool),
        steps=(f"a new password for {pool_role(pool.pk)}: open sessions go on, new ones need the new password",),
        creates=(
            f"a new password for all {pool.placed} tenants of {pool}; their applications ask for it by themselves",
        ),
    )


class PoolAdmin(ReadOnlyAdmin):
    """One line a pool, with how full it is."""

    noun, nouns = "pool", "pools"
    none_yet = "A pool is tables that tenants share. The first is made when a tenant of a pool's plan is onboarded."
    page_template = "admin/pool.html"
    verbs = ("open", "drain", "close", "capacity", "rotate_password")

    list_display = ("name", "standing", "load", "where", "on_release", "ready")
    list_filter = ("state", "cluster")
    search_fields = ("schema__startswith",)
    ordering = ("cluster__name", "created_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Pool]:
        pools: QuerySet[Pool] = super().get_queryset(request)
        share = Cast(F("placed"), FloatField()) / Cast(F("capacity"), FloatField())
        return pools.select_related("cluster").annotate(share=share)

    def page_queryset(self, request: HttpRequest) -> QuerySet[Pool]:
        return self.get_queryset(request)

    @admin.display(description="pool", ordering="schema")
    def name(self, pool: Pool) -> str:
        return pool.schema

    @admin.display(description="state", ordering="state")
    def standing(self, pool: Pool) -> SafeString:
        return badge("cluster", pool.state)

    @admin.display(description="cluster", ordering="cluster__name")
    def where(self, pool: Pool) -> SafeString:
        url = reverse("admin:tenants_cluster_change", args=[pool.cluster_id])
        return format_html('<a href="{}">{}</a>', url, pool.cluster.name)

    @admin.display(description="tenants", ordering="share")
    def load(self, pool: Pool) -> SafeString:
        shown = {"name": f"{pool}: tenants", "completed": pool.placed, "total": pool.capacity, "unit": "tenants"}
        bar = render_to_string("admin/parts/progress.html", {**shown, "tone": "busy"})
        return format_html('<a href="{}">{} of {}</a> {}', tenants_url(pool), pool.placed, pool.capacity, bar)

    @admin.display(description="release", ordering="release")
    def on_release(self, pool: Pool) -> str:
        return pool.release or NOTHING

    @admin.display(description="laid out", ordering="ready_at")
    def ready(self, pool: Pool) -> SafeString:
        return moment(pool.ready_at, "with its first tenant")

    # --- the page ------------------------------------------------------------------------------------------------

    def page_context(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        allowed = [name for name in self.verbs if self.state_of_verb.get(name) != row.state]
        if row.ready_at is None:
            allowed.remove("rotate_password")
        return {
            "pool": row,
            "role": pool_role(row.pk),
            "group": pool_group(row.pk),
            "bucket": pool_bucket(row.pk),
            "on": Release.objects.filter(name=row.release).only("pk", "name", "current").first(),
            "tenants_url": tenants_url(row),
            "drift_url": drift_url(request, row.pk) if row.ready_at else "",
            "verbs": self.links(request, row, allowed),
        }

    state_of_verb: ClassVar = {
        "open": Pool.State.OPEN,
        "drain": Pool.State.DRAINING,
        "close": Pool.State.CLOSED,
    }

    @plan_then_confirm("Open", permission=CHANGE, plan=plan_to(Pool.State.OPEN), icon="lock_open")
    def open(self, pool: Pool, form: VerbForm) -> str:
        """Let new tenants come."""
        return self._set(pool, Pool.State.OPEN, form)

    @plan_then_confirm("Drain", permission=CHANGE, plan=plan_to(Pool.State.DRAINING), icon="output")
    def drain(self, pool: Pool, form: VerbForm) -> str:
        """No new tenants; it is to be emptied."""
        return self._set(pool, Pool.State.DRAINING, form)

    @plan_then_confirm("Close", permission=CHANGE, plan=plan_to(Pool.State.CLOSED), icon="lock", danger=True)
    def close(self, pool: Pool, form: VerbForm) -> str:
        """No new tenants."""
        return self._set(pool, Pool.State.CLOSED, form)

    @plan_then_confirm(
        "Resize", label="Change capacity", form=CapacityForm, permission=CHANGE, plan=plan_capacity, icon="width"
    )
    def capacity(self, pool: Pool, form: CapacityForm) -> str:
        """How many tenants it may hold."""
        lifecycle.change_pool(pool=pool, capacity=form.cleaned_data["capacity"], actor=form.actor)
        return self.url_of(pool)

    @plan_then_confirm(
        "Rotate the password of", label="Rotate password", permission=CHANGE, plan=plan_rotate, icon="key"
    )
    def rotate_password(self, pool: Pool, form: VerbForm) -> str:
        """A new password for the role that its tenants share."""
        lifecycle.rotate_pool_password(pool=pool, actor=form.actor)
        return self.url_of(pool)

    def _set(self, pool: Pool, state: Pool.State, form: VerbForm) -> str:
        lifecycle.change_pool(pool=pool, state=state, actor=form.actor)
        return self.url_of(pool)


def tenants_url(pool: Pool) -> str:
    """The list of its tenants."""
    return f"{reverse('admin:tenants_tenant_changelist')}?cluster={pool.cluster.name}&pool={pool}"
