"""Plan, then confirm: one ordinary page for every verb, with a URL, a back button and room for what will happen.

# Note [A page, not a dialog]
A link opens the page, and GET changes nothing. It shows the very plan that runs; its digest travels with the form, and
if the world moved meanwhile the page comes back with the difference marked. The form carries a key made with the page,
so that a double click starts one operation. It works without JavaScript.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from django import forms
from django.contrib import messages
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from controlplane.requests import request_id_of
from provisioning.models import Run
from provisioning.workflows.plans import PlanChanged, VerbPlan
from tenants.audit import Actor
from tenants.errors import TenureError

if TYPE_CHECKING:
    from controlplane.admin.base import ReadOnlyAdmin

REASON_LENGTH = 500
REASON_HELP = "Kept with the operation and shown to whoever looks at it next."


class VerbForm(forms.Form):
    """What every verb carries: the digest of the plan that was read, and a key that makes a repeat harmless."""

    digest = forms.CharField(widget=forms.HiddenInput)
    key = forms.CharField(widget=forms.HiddenInput, max_length=255)
    shown = forms.CharField(widget=forms.HiddenInput, required=False)  # the plan's lines, to mark what has changed

    actor: Actor
    request_id: str

    def __init__(self, *args: Any, plan: VerbPlan, typed: str = "", row: Any = None, **kwargs: Any) -> None:
        """`typed`: what must be typed to confirm when the plan removes something."""
        super().__init__(*args, **kwargs)
        if row is not None:
            self.choose(row)
        self.fields["digest"].initial, self.fields["key"].initial = plan.digest, str(uuid4())
        if plan.needs_reason:
            self.fields["reason"].required = True
        self.fields["shown"].initial = json.dumps(lines_of(plan))
        self.expected = typed if plan.removes else ""
        if self.expected:
            self.fields["typed"] = forms.CharField(
                label=f"Type {typed} to confirm", help_text="Something is removed. Pasting is fine.", max_length=200
            )
        describe(self)

    def choose(self, row: Any) -> None:
        """Give fields the choices that this row has."""

    def clean_typed(self) -> str:
        typed: str = self.cleaned_data["typed"].strip()
        if typed != self.expected:
            raise forms.ValidationError(f"That is not {self.expected}.")
        return typed

    @property
    def key_text(self) -> str:
        key: str = self.cleaned_data["key"]
        return key


def describe(form: forms.Form) -> None:
    """Give fields our look, and tie help and errors to them for screen readers. Call it again after add_error."""
    for name, field in form.fields.items():
        wrong = form.is_bound and name in form.errors
        described = [*([f"{name}-help"] if field.help_text else []), *([f"{name}-error"] if wrong else [])]
        kind = "tn-boxes" if isinstance(field.widget, forms.CheckboxSelectMultiple) else "tn-input"
        field.widget.attrs.update({"class": kind, "autocomplete": "off"})
        if wrong:
            field.widget.attrs["aria-invalid"] = "true"
        if described:
            field.widget.attrs["aria-describedby"] = " ".join(described)


class ReasonForm(VerbForm):
    """A verb that must be explained."""

    reason = forms.CharField(
        max_length=REASON_LENGTH,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=REASON_HELP,
    )

    @property
    def reason_text(self) -> str:
        reason: str = self.cleaned_data["reason"]
        return reason


class MayReasonForm(ReasonForm):
    """A verb that may be explained, and must be where its plan says so."""

    reason = forms.CharField(
        required=False, max_length=REASON_LENGTH, widget=forms.Textarea(attrs={"rows": 3}), help_text=REASON_HELP
    )


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb as the admin offers it. `plan` reads and decides, `act` makes one lifecycle call.

    `act` returns the operation that it started or changed, or the URL to go to.
    """

    name: str
    title: str  # stands before the object: "Retry" onboard acme
    label: str  # stands alone on a button
    icon: str
    form: type[VerbForm]
    permission: str
    danger: bool
    plan: Callable[[Any], VerbPlan]
    act: Callable[..., Run | str]


def plan_then_confirm(
    title: str,
    *,
    form: type[VerbForm] = VerbForm,
    permission: str,
    plan: Callable[[Any], VerbPlan],
    icon: str,
    label: str = "",
    danger: bool = False,
) -> Callable[[Callable[..., Run | str]], Callable[..., Run | str]]:
    """Make a method of a ReadOnlyAdmin a verb: its page is at `<row>/<method's name>/`."""

    def decorate(act: Callable[..., Run | str]) -> Callable[..., Run | str]:
        act.verb = Verb(act.__name__, title, label or title, icon, form, permission, danger, plan, act)  # type: ignore[attr-defined]
        return act

    return decorate


def confirm(request: HttpRequest, admin: ReadOnlyAdmin, verb: Verb, row: Model) -> HttpResponse:
    """GET shows the plan; POST acts, if the plan is still that one. See Note [A page, not a dialog]."""
    plan = verb.plan(row)
    form = verb.form(request.POST or None, plan=plan, typed=slug_of(row), row=row)
    refused: TenureError | None = None
    changed = request.method == "POST" and form.data.get("digest") != plan.digest
    if changed:
        form = again(verb, request, plan, row)
    elif request.method == "POST" and form.is_valid():
        # Blockers are left to the verb: the second click of a double click finds its own first operation in the way.
        form.actor, form.request_id = actor_of(request), request_id_of(request)
        try:
            done = verb.act(admin, row, form)
        except PlanChanged:  # the verb looked again, and found what the page did not show
            plan, changed = verb.plan(row), True
            form = again(verb, request, plan, row)
        except TenureError as error:
            refused, plan = error, verb.plan(row)
        else:
            messages.success(request, f"{verb.title}: {plan.subject}.")
            return HttpResponseRedirect(url_of_outcome(done))
    context = {
        **admin.admin_site.each_context(request),
        "crumbs": [*admin.crumbs_of(row), (admin.name_of(row), admin.url_of(row))],
        "title": f"{verb.title} {plan.subject}",
        "plan": plan,
        "form": form,
        "changed": changed,
        "difference": Difference.of(request.POST.get("shown", ""), plan) if changed else None,
        "refused": refused,
        "danger": verb.danger or bool(plan.removes),
        "submit": f"{verb.title} {plan.subject}",
        "cancel_url": admin.url_of(row),
        **admin.confirm_context(verb, row),
    }
    status = 409 if changed or refused else 422 if form.errors else 200
    return TemplateResponse(request, "admin/confirm.html", context, status=status)


def again(verb: Verb, request: HttpRequest, plan: VerbPlan, row: Model) -> VerbForm:
    """The form for a plan that has changed: what was typed is kept, but for the confirmation."""
    return verb.form(plan=plan, typed=slug_of(row), row=row, initial={"reason": request.POST.get("reason", "")})


@dataclass(frozen=True, slots=True)
class Difference:
    """What a plan says now that the page did not show, and the other way round."""

    new: tuple[str, ...]
    gone: tuple[str, ...]

    @classmethod
    def of(cls, shown: str, plan: VerbPlan) -> Difference:
        try:
            before = [str(line) for line in json.loads(shown or "[]")]
        except (ValueError, TypeError):
            before = []
        now = lines_of(plan)
        return cls(
            new=tuple(line for line in now if line not in before),
            gone=tuple(line for line in before if line not in now),
        )


def lines_of(plan: VerbPlan) -> list[str]:
    return [*plan.steps, *(f"creates {each}" for each in plan.creates), *(f"removes {each}" for each in plan.removes)]


def actor_of(request: HttpRequest) -> Actor:
    """The signed-in person, as operations and the audit log name them."""
    if isinstance(request.user, AnonymousUser):
        raise PermissionDenied
    return Actor(kind="user", id=str(request.user.pk), name=request.user.get_username())


def url_of_outcome(done: Run | str) -> str:
    """Where a verb leads: to its operation, or to the URL that it gave."""
    return done if isinstance(done, str) else reverse("admin:provisioning_run_change", args=[done.pk])


def slug_of(row: Model) -> str:
    """What must be typed before something of this row is removed: the slug of its tenant, else its name."""
    tenant = getattr(row, "tenant", row)
    return str(getattr(tenant, "slug", None) or tenant or row)
