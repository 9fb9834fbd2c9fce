"""A form that makes a row and leads to its page: a rollout's draft, a request. What it makes destroys nothing yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from django import forms
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse

from controlplane.admin.confirm import actor_of, describe
from tenants.actions import Actor
from tenants.errors import TenureError

if TYPE_CHECKING:
    from controlplane.admin.base import ReadOnlyAdmin

Form = TypeVar("Form", bound=forms.Form)


@dataclass(frozen=True, slots=True)
class Asking:
    """The words of the page. `fields`: where the verb's words for a field differ from the form's."""

    title: str
    question: str
    lead: str
    submit: str
    refused: str
    fields: Mapping[str, str] = field(default_factory=dict)
    several: str = ""  # the name of a page for many at once


def ask(
    request: HttpRequest, admin: ReadOnlyAdmin, form: Form, make: Callable[[Form, Actor], Model], words: Asking
) -> HttpResponse:
    """The form; a good one makes a row and leads to it. The verb judges: what is wrong with a field stands at it."""
    refused: TenureError | None = None
    if request.method == "POST" and form.is_valid():
        try:
            row = make(form, actor_of(request))
        except TenureError as error:
            if (wrong := str(error.metadata.get("field", ""))) and error.code == "VALIDATION_FAILED":
                name = words.fields.get(wrong, wrong)
                form.add_error(name if name in form.fields else None, str(error))
            else:
                refused = error
        else:
            return HttpResponseRedirect(admin.url_of(row))
    describe(form)
    context: dict[str, Any] = {
        **admin.admin_site.each_context(request),
        "crumbs": [(admin.nouns.capitalize(), admin.list_url())],
        "title": words.title,
        "words": words,
        "form": form,
        "refused": refused,
        "cancel_url": admin.list_url(),
    }
    status = 409 if refused else 422 if form.errors else 200
    return TemplateResponse(request, "admin/ask.html", context, status=status)
