"""What every page of the admin shares: rows that are only read, a page of one's own per row, and who may do what."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import update_wrapper
from typing import Any, ClassVar, NoReturn, Protocol
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from unfold.admin import ModelAdmin
from unfold.paginator import InfinitePaginator

from controlplane.admin.confirm import Verb, confirm
from tenants.errors import TenureError

Crumb = tuple[str, str]
"""A name and a URL."""


class Row(Protocol):
    """Whatever has a page of its own: a model's row, or what is in no table."""

    @property
    def pk(self) -> Any: ...


class ReadOnlyRows(TenureError):
    """Rows are not edited in the admin: a change that skips its workflow leaves the world and the rows apart."""

    code = "READ_ONLY_ROWS"
    cure = "Use a verb on the row's own page; it plans, asks, and then starts an operation."


class ReadOnlyAdmin(ModelAdmin):  # type: ignore[misc]  # Unfold ships no types
    """A list and a page per row, nothing to add, edit or delete.

    A subclass names its templates and `verbs`, and gives `page_context`. See `plan_then_confirm` for verbs.
    """

    change_list_template = "admin/list.html"
    page_template: ClassVar[str]
    noun: ClassVar[str]
    nouns: ClassVar[str]
    none_yet: ClassVar[str] = ""  # what they are and how the first one comes to be, for an empty list
    verbs: ClassVar[Sequence[str]] = ()
    pk_converter: ClassVar[str] = "uuid"  # of a row, in URLs

    actions = None
    list_per_page = 50
    paginator = InfinitePaginator  # counting a fleet's rows costs more than showing a page of them
    show_full_result_count = False

    def has_add_permission(self, _request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, _request: HttpRequest, _obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, _request: HttpRequest, _obj: Model | None = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, _obj: Model | None = None) -> bool:
        return bool(request.user.has_perm(f"{self.opts.app_label}.view_{self.opts.model_name}"))

    def save_model(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise ReadOnlyRows

    def delete_model(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise ReadOnlyRows

    def delete_queryset(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise ReadOnlyRows

    def get_urls(self) -> list[URLPattern]:
        """The list, a page per row, a page per verb. Django's add, change, delete and history pages do not exist."""
        name = f"{self.opts.app_label}_{self.opts.model_name}"
        return [
            path("", self.guarded(self.changelist_view), name=f"{name}_changelist"),
            *self.extra_urls(name),
            path(f"<{self.pk_converter}:object_id>/", self.guarded(self.page), name=f"{name}_change"),
            *(
                path(f"<{self.pk_converter}:object_id>/{verb}/", self._verb_view(verb), name=f"{name}_{verb}")
                for verb in self.verbs
            ),
        ]

    def extra_urls(self, _name: str) -> Sequence[URLPattern]:
        """Pages beside the list and the rows; `_name` begins their names."""
        return ()

    def guarded(self, view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
        """Signed-in staff only; others are led to the login."""

        def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            response: HttpResponse = self.admin_site.admin_view(view)(request, *args, **kwargs)
            return response

        return update_wrapper(wrapper, view)

    def changelist_view(self, request: HttpRequest, extra_context: Mapping[str, Any] | None = None) -> HttpResponse:
        crumbs: list[Crumb] = []
        words = {"title": self.nouns.capitalize(), "crumbs": crumbs, "none_yet": self.none_yet, "nouns": self.nouns}
        response: HttpResponse = super().changelist_view(request, {**words, **(extra_context or {})})
        return response

    def page(self, request: HttpRequest, object_id: UUID | int) -> HttpResponse:
        """The page of one row; for an id that is not there, the list and a message."""
        row = self.row(request, object_id)
        if row is None:
            return self.gone(request, object_id)
        context = {
            **self.admin_site.each_context(request),
            "crumbs": self.crumbs_of(row),
            "title": self.name_of(row),
            **self.page_context(request, row),
        }
        return TemplateResponse(request, self.page_template, context)

    def page_context(self, _request: HttpRequest, row: Model) -> dict[str, Any]:
        return {"row": row}

    def row(self, request: HttpRequest, object_id: UUID | int) -> Any:
        """The row, or None. Raises PermissionDenied for whoever may not look."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return self.page_queryset(request).filter(pk=object_id).first()

    def page_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)
        return rows

    def gone(self, request: HttpRequest, object_id: UUID | int) -> HttpResponse:
        self.message_user(request, f"There is no {self.noun} {object_id}.", level="WARNING")
        return HttpResponseRedirect(self.list_url())

    def confirm_context(self, _verb: Verb, _row: Any) -> dict[str, Any]:
        """What a verb's page shows beside its plan: `detail` names a template for it."""
        return {}

    def crumbs_of(self, _row: Any) -> list[Crumb]:
        """What stands above the page of a row."""
        return [(self.nouns.capitalize(), self.list_url())]

    def name_of(self, row: Any) -> str:
        """What a heading calls the row."""
        return str(row)

    def list_url(self) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")

    def url_of(self, row: Row, verb: str = "change") -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_{verb}", args=[row.pk])

    def links(self, request: HttpRequest, row: Row, allowed: Sequence[str]) -> list[tuple[Verb, str]]:
        """The verbs that are allowed now and permitted to this person, each with the URL of its page."""
        verbs = [self.verb(name) for name in self.verbs if name in allowed]
        return [(verb, self.url_of(row, verb.name)) for verb in verbs if request.user.has_perm(verb.permission)]

    def verb(self, name: str) -> Verb:
        verb: Verb = getattr(self, name).verb
        return verb

    def _verb_view(self, name: str) -> Callable[..., HttpResponse]:
        def view(request: HttpRequest, object_id: UUID | int) -> HttpResponse:
            verb = self.verb(name)
            if not request.user.has_perm(verb.permission):
                raise PermissionDenied
            row = self.row(request, object_id)
            if row is None:
                return self.gone(request, object_id)
            return confirm(request, self, verb, row)

        return self.guarded(view)
