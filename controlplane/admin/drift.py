"""Drift: which targets are not as their release says, a page of them at a time, and what may be done about one.

# Note [A page looks at its own targets]
How a target stands is known only once its server was asked, so a page asks for the targets that are on it and for no
others, and says which those are. A state leaves out what was looked at and is otherwise: a page may be empty while the
next is not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, QueryDict
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from controlplane import drift_plans
from controlplane.admin.actors import with_actor_names
from controlplane.admin.base import ReadOnlyAdmin
from controlplane.admin.confirm import REASON_LENGTH, ReasonForm, VerbForm, plan_then_confirm
from controlplane.sorted_slices import slice_of
from provisioning import lifecycle
from provisioning.models import AdoptedDrift, Run
from provisioning.rollout.drift import Selection, Standing, State, Target, order_of
from provisioning.rollout.repair import busy_with
from tenants.models import Cluster
from tenants.states import Tier

SEE, ADOPT, REPAIR = "provisioning.view_rollout", "provisioning.adopt_drift", "provisioning.repair_drift"
FEW = 3  # lines of a difference in the list; all of them are on the target's own page
VERBS: Mapping[State, Sequence[str]] = {
    State.DRIFTED: ("adopt", "repair"),
    State.ADOPTED: ("repair",),
    State.AS_RELEASED: (),
    State.AWAY: (),
}


@dataclass(frozen=True, slots=True)
class Line:
    """One target of the list."""

    standing: Standing
    url: str
    adopted: Any  # the row that says who accepted it, or None

    @property
    def first(self) -> Sequence[str]:
        return self.standing.lines[:FEW]

    @property
    def more(self) -> int:
        return len(self.standing.lines) - len(self.first)


class AdoptionForm(ReasonForm):
    """Why the target may differ."""

    reason = forms.CharField(
        max_length=REASON_LENGTH,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="Kept with the target, and shown as long as it is accepted.",
    )


class DriftAdmin(ReadOnlyAdmin):
    """Rows of no table: a target is a tenant with tables of its own, or a pool. Whoever sees rollouts sees these."""

    noun, nouns = "target", "drift"
    page_template = "admin/drift_target.html"
    verbs = ("adopt", "repair")

    def has_view_permission(self, request: HttpRequest, _obj: Any = None) -> bool:
        return bool(request.user.has_perm(SEE))

    def changelist_view(self, request: HttpRequest, extra_context: Mapping[str, Any] | None = None) -> HttpResponse:
        """See Note [A page looks at its own targets]."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        asked = {name: request.GET.get(name, "").strip() for name in ("state", "tier", "cluster", "q")}
        tiers, clusters = (tuple(filter(None, [asked[name]])) for name in ("tier", "cluster"))
        found = lifecycle.reached_by(Selection(tiers=tiers, clusters=clusters, prefix=asked["q"].lower()))
        size = self.list_per_page
        try:
            here = slice_of(found, by=order_of, size=size, cursor=request.GET.get("cursor"))
        except ValueError:  # a URL that was cut: the list from its beginning
            here = slice_of(found, by=order_of, size=size)
        standings = list(lifecycle.survey_drift(here.items))
        context = {
            **self.admin_site.each_context(request),
            "title": "Drift",
            "crumbs": [],
            "asked": asked,
            "narrowed": any(asked.values()),
            "filters": list(_filters(request.GET)),
            "lines": list(self._lines([each for each in standings if asked["state"] in ("", each.state)])),
            "counts": Counter(each.state for each in standings).items(),
            "first": here.first + 1,
            "last": here.first + len(standings),
            "total": len(found),
            "next": _url(request.GET, cursor=here.next) if here.next else "",
            "previous": _url(request.GET, cursor=here.previous) if here.previous else "",
            "as_of": timezone.now(),
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/drift.html", context)

    def _lines(self, standings: Sequence[Standing]) -> Iterator[Line]:
        accepted = adoptions([each.target for each in standings if each.state == State.ADOPTED])
        for each in standings:
            yield Line(each, self.url_of(each.target), accepted.get(each.target.pk))

    # --- the page ------------------------------------------------------------------------------------------------

    def row(self, request: HttpRequest, object_id: UUID | int) -> Target | None:
        """By the id of a tenant or of a pool; a tenant in a pool stands for its pool."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        for owner in ("tenant_id", "pool_id"):
            try:
                return lifecycle.target_of(**{owner: object_id})  # type: ignore[arg-type]  # a UUID, as the URL says
            except lifecycle.NoSuchTarget:
                continue
        return None

    def page_context(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        (standing,) = lifecycle.survey_drift([row])
        busy: Run | None = busy_with(row)
        kind = "pool" if row.pooled else "tenant"
        return {
            "target": row,
            "standing": standing,
            "adopted": adoptions([row]).get(row.pk),
            "busy": busy,
            "owner_url": reverse(f"admin:tenants_{kind}_change", args=[row.pk]),
            "cluster_url": reverse("admin:tenants_cluster_change", args=[row.cluster.pk]),
            "verbs": self.links(request, row, VERBS[standing.state]),
            "as_of": timezone.now(),
        }

    @plan_then_confirm(
        "Adopt the drift of",
        label="Adopt",
        form=AdoptionForm,
        permission=ADOPT,
        plan=lambda target: drift_plans.adopting(target).plan,
        icon="handshake",
    )
    def adopt(self, target: Target, form: AdoptionForm) -> str:
        """Accept the lines that were read, and no others."""
        seen = drift_plans.adopting(target)
        seen.plan.confirm(form.cleaned_data["digest"])
        lifecycle.adopt_drift(target=target, reason=form.reason_text, actor=form.actor, standing=seen.standing)
        return self.url_of(target)

    @plan_then_confirm("Repair", permission=REPAIR, plan=drift_plans.plan_repair, icon="build")
    def repair(self, target: Target, form: VerbForm) -> Run:
        """Send the statements that were read, and no others."""
        seen = drift_plans.repairing(target)
        seen.plan.confirm(form.cleaned_data["digest"])
        return lifecycle.start_repair(plan=seen.repair, actor=form.actor, key=form.key_text, request_id=form.request_id)


def drift_url(request: HttpRequest, pk: UUID) -> str:
    """The page of the target that a tenant or a pool is; empty for whoever may not see it."""
    return reverse("admin:provisioning_adopteddrift_change", args=[pk]) if request.user.has_perm(SEE) else ""


def adoptions(targets: Sequence[Target]) -> dict[UUID | None, Any]:
    """What is accepted of these targets, with the names of who accepted it, by the id of tenant or pool."""
    owners = [target.pk for target in targets]
    rows = with_actor_names(AdoptedDrift.objects.filter(ended_at=None))
    both = [*rows.filter(tenant__in=owners), *rows.filter(pool__in=owners)] if owners else []
    return {each.tenant_id or each.pool_id: each for each in both}


def _filters(asked: QueryDict) -> Iterator[dict[str, Any]]:
    """The choices of each filter, as parts/filter_row.html takes them."""
    choices = {
        "state": [str(state) for state in State],
        "tier": [str(tier) for tier in Tier],
        "cluster": list(Cluster.objects.order_by("name").values_list("name", flat=True)),
    }
    for title, values in choices.items():
        now = asked.get(title, "")
        links = [
            {"display": value or "all", "selected": value == now, "query_string": _url(asked, **{title: value})}
            for value in ("", *values)
        ]
        yield {"title": title, "choices": links}


def _url(asked: QueryDict, **changes: str) -> str:
    """The list asked for anew, from its beginning unless a cursor is given."""
    kept = {name: value for name, value in asked.items() if name != "cursor"} | changes
    return "?" + urlencode({name: value for name, value in kept.items() if value})
