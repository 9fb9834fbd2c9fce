"""Onboarding one tenant by hand: a form, the plan of what it makes, and the operation that makes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from controlplane.admin.confirm import Difference, VerbForm, actor_of, describe, url_of_outcome
from controlplane.requests import request_id_of
from provisioning import lifecycle
from provisioning.workflows.wishes import InvalidWish, TenantWish
from tenants.errors import TenureError
from tenants.models import Cluster, Plan

if TYPE_CHECKING:
    from controlplane.admin.base import ReadOnlyAdmin

OPERATE = "tenants.operate_tenant"


class WishForm(forms.Form):
    """What is asked for. The rules are those of every other door: `lifecycle.plan_onboard` judges, not this form."""

    slug = forms.CharField(
        max_length=300, help_text="The host name and what people type: a-z, 0-9 and -, 3 to 48 characters. It stays."
    )
    name = forms.CharField(max_length=300, help_text="The customer's name, as your invoices spell it.")
    plan = forms.ChoiceField(help_text="It says which tier the rows live in, and the quotas.")
    region = forms.ChoiceField(help_text="Where the rows and files are kept.")
    external_ref = forms.CharField(
        label="External reference",
        max_length=300,
        required=False,
        help_text="Optional: the customer's id in your billing system.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        plans = Plan.objects.order_by("name").values_list("name", "tier")
        self.fields["plan"] = forms.ChoiceField(
            choices=[(name, f"{name} ({tier})") for name, tier in plans], help_text=self.fields["plan"].help_text
        )
        regions = sorted(set(Cluster.objects.filter(state=Cluster.State.OPEN).values_list("region", flat=True)))
        self.fields["region"] = forms.ChoiceField(
            choices=[(region, region) for region in regions], help_text=self.fields["region"].help_text
        )

    def wish(self, principal: str) -> TenantWish:
        """As it was typed, good or bad: the verb says all that is wrong with it at once."""
        typed = {name: self.data.get(name, "").strip() for name in self.fields}
        return TenantWish(**{**typed, "external_ref": typed["external_ref"] or None, "principal": principal})


def onboard(request: HttpRequest, admin: ReadOnlyAdmin) -> HttpResponse:
    """The empty form, or the same with what was asked for and what is wrong with it."""
    _operators_only(request)
    return _form_page(request, admin, WishForm(initial=request.GET.dict()))


def plan_page(request: HttpRequest, admin: ReadOnlyAdmin) -> HttpResponse:
    """GET shows what onboarding this tenant would make, POST starts it. The wish is in the URL, which can be sent."""
    _operators_only(request)
    asked = WishForm(request.GET)
    actor = actor_of(request)
    wish = asked.wish(str(actor))
    try:
        plan = lifecycle.plan_onboard(wish=wish)
    except InvalidWish as error:
        for each in error.errors:
            if each.field not in asked.errors:
                asked.add_error(each.field if each.field in asked.fields else None, each.detail)
    if asked.errors:
        return _form_page(request, admin, asked, status=422)
    form = VerbForm(request.POST or None, plan=plan)
    refused: TenureError | None = None
    changed = request.method == "POST" and form.data.get("digest") != plan.digest
    if changed:
        form = VerbForm(plan=plan)
    elif request.method == "POST" and form.is_valid():
        # Blockers are left to the verb: the second click of a double click finds the tenant of the first in its way.
        try:
            run = lifecycle.onboard(wish=wish, actor=actor, key=form.key_text, request_id=request_id_of(request))
        except TenureError as error:
            refused = error
        else:
            return HttpResponseRedirect(url_of_outcome(run))
    context = {
        **admin.admin_site.each_context(request),
        "crumbs": [("Tenants", admin.list_url())],
        "title": f"Onboard {wish.slug}",
        "plan": plan,
        "wish": wish,
        "form": form,
        "changed": changed,
        "difference": Difference.of(request.POST.get("shown", ""), plan) if changed else None,
        "refused": refused,
        "danger": False,
        "submit": f"Onboard {wish.slug}",
        "cancel_url": f"{reverse('admin:tenants_tenant_onboard')}?{urlencode(request.GET.dict())}",
    }
    status = 409 if changed or refused else 422 if form.errors else 200
    return TemplateResponse(request, "admin/confirm.html", context, status=status)


def _form_page(request: HttpRequest, admin: ReadOnlyAdmin, form: WishForm, *, status: int = 200) -> HttpResponse:
    describe(form)
    context = {
        **admin.admin_site.each_context(request),
        "crumbs": [("Tenants", admin.list_url())],
        "title": "Onboard a tenant",
        "form": form,
        "plan_url": reverse("admin:tenants_tenant_plan"),
        "cancel_url": admin.list_url(),
    }
    return TemplateResponse(request, "admin/onboard.html", context, status=status)


def _operators_only(request: HttpRequest) -> None:
    if not request.user.has_perm(OPERATE):
        raise PermissionDenied
