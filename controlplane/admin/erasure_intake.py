"""Requests that come in by letter or call: a form for one, a file for many. Neither destroys anything."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters

from controlplane.admin.asking import Asking, ask
from controlplane.admin.confirm import actor_of, describe
from controlplane.admin.erasure_verbs import ASK
from controlplane.erasure_import import COLUMNS, MOST_BYTES, BadRow, Taken, identifiers_of, import_requests
from provisioning import lifecycle
from provisioning.erasure.identifiers import KINDS
from provisioning.models import Basis, DeadlinePolicy, ErasureKind, ErasureRequest
from tenants.actions import Actor
from tenants.errors import TenureError
from tenants.models import Tenant

if TYPE_CHECKING:
    from controlplane.admin.base import ReadOnlyAdmin

IN_URLS = ("tenant", "scope")  # what a link may fill in: what names a person is in no URL


class WishForm(forms.Form):
    """Whose data, why, and since when. The rules are those of every other door."""

    tenant = forms.CharField(max_length=63, help_text="Its slug.")
    scope = forms.ChoiceField(choices=ErasureKind.choices)
    identifiers = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false"}),
        help_text=f"Of the person, one a line: email=…  Kinds: {', '.join(sorted(KINDS))}. They are sealed at once.",
    )
    basis = forms.ChoiceField(
        label="Ground",
        choices=[(each.value, each.label.lower()) for each in Basis],
        help_text="The end of a contract, or a ground of GDPR Art. 17(1).",
    )
    policy = forms.ChoiceField(label="Due in", choices=DeadlinePolicy.choices)
    contract_days = forms.IntegerField(
        label="Days of the contract", required=False, help_text="30 if empty; only where a contract says by when."
    )
    received_at = forms.DateTimeField(
        label="Received",
        required=False,
        help_text="In UTC, now if empty. The time runs from here, not from today.",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}),
    )
    grace_days = forms.IntegerField(
        label="Grace in days", required=False, min_value=0, help_text="7 for a tenant and 1 for a person if empty."
    )
    time_zone = forms.CharField(max_length=64, initial="UTC", help_text="Whose midnight ends the due date.")
    key = forms.CharField(widget=forms.HiddenInput, max_length=255)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["key"].initial = str(uuid4())

    def clean_tenant(self) -> Tenant:
        slug = self.cleaned_data["tenant"].strip()
        found: Tenant | None = Tenant.objects.select_related("plan").filter(slug=slug).first()
        if found is None:
            raise forms.ValidationError("There is no tenant of this slug.")
        return found

    def clean_identifiers(self) -> tuple[lifecycle.ErasureIdentifier, ...]:
        try:
            return identifiers_of(self.cleaned_data["identifiers"].splitlines())
        except BadRow as error:
            raise forms.ValidationError(str(error)) from None

    def wish(self) -> lifecycle.ErasureWish:
        typed = self.cleaned_data
        given = {name: typed[name] for name in ("contract_days", "received_at") if typed[name] is not None}
        if typed["grace_days"] is not None:
            given["grace"] = timedelta(days=typed["grace_days"])
        return lifecycle.ErasureWish(
            kind=typed["scope"],
            basis=Basis(typed["basis"]),
            policy=DeadlinePolicy(typed["policy"]),
            identifiers=typed["identifiers"],
            time_zone=typed["time_zone"],
            **given,
        )


class FileForm(forms.Form):
    """A list of requests."""

    file = forms.FileField(
        label="CSV file",
        help_text=f"In UTF-8, at most {MOST_BYTES // 1024} KiB, with a header of: {', '.join(COLUMNS)}.",
    )


@never_cache
@sensitive_post_parameters("identifiers")
def request_page(request: HttpRequest, admin: ReadOnlyAdmin) -> HttpResponse:
    """The form; a good one makes a request and leads to it. Sent twice it is one request."""
    if not request.user.has_perm(ASK):
        raise PermissionDenied
    initial = {name: request.GET[name] for name in IN_URLS if name in request.GET}
    return ask(request, admin, WishForm(request.POST or None, initial=initial), _request, ASKING)


def _request(form: WishForm, actor: Actor) -> ErasureRequest:
    tenant, key = form.cleaned_data["tenant"], form.cleaned_data["key"]
    return lifecycle.request_erasure(tenant=tenant, wish=form.wish(), actor=actor, key=key)


ASKING = Asking(
    title="Ask for an erasure",
    question="Whose data, why, and since when?",
    lead="This dates the request and counts what there is. Nothing goes before one person has proposed that plan and"
    " another has approved it.",
    submit="Ask for it",
    refused="Refused, and no request was made.",
    several="admin:provisioning_erasurerequest_import",
)


@never_cache
def import_page(request: HttpRequest, admin: ReadOnlyAdmin) -> HttpResponse:
    """A file of requests; then what became of each row. The file is not kept. Sent twice it makes nothing twice."""
    if not request.user.has_perm(ASK):
        raise PermissionDenied
    form, taken = FileForm(request.POST or None, request.FILES or None), list[Taken]()
    if request.method == "POST" and form.is_valid():
        try:
            taken = list(import_requests(form.cleaned_data["file"].read(MOST_BYTES + 1), actor=actor_of(request)))
        except TenureError as error:
            form.add_error("file", f"{error} {error.cure}")
    describe(form)
    context = {
        **admin.admin_site.each_context(request),
        "crumbs": [(admin.nouns.capitalize(), admin.list_url())],
        "title": "Ask for many erasures",
        "form": form,
        "taken": [(each, admin.url_of(each.request) if each.request else "") for each in taken],
        "cancel_url": admin.list_url(),
    }
    return TemplateResponse(request, "admin/erasure_import.html", context, status=422 if form.errors else 200)
