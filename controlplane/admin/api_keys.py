"""Keys of the API: made here and shown once, revoked here and gone from the next request on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.cache import never_cache

from controlplane import keys
from controlplane.admin.base import ReadOnlyAdmin
from controlplane.admin.confirm import VerbForm, actor_of, describe, plan_then_confirm
from controlplane.models import ApiKey, Scope
from controlplane.templatetags.ops import badge, moment
from provisioning.workflows.plans import VerbPlan
from tenants.errors import TenureError
from tenants.findings import Finding, Severity

MANAGE = "controlplane.manage_apikey"


class KeyForm(forms.Form):
    """Who owns the key, what it is for, what it may do, and until when."""

    principal = forms.CharField(
        label="Owner", max_length=80, help_text="The person or system that answers for its use, for example: billing."
    )
    name = forms.CharField(max_length=80, help_text="What it is for, for example: sign-up.")
    scopes = forms.MultipleChoiceField(choices=Scope.choices, widget=forms.CheckboxSelectMultiple)
    days = forms.IntegerField(label="Days until it expires", min_value=1, max_value=keys.MOST_DAYS, initial=keys.DAYS)


def plan_revoke(key: ApiKey) -> VerbPlan:
    """Revoking is for good: a new key is made instead."""
    gone = Finding("STATE_CONFLICT", Severity.ERROR, key.public_id, "The key is revoked already.", "Go back.")
    return VerbPlan(
        verb="api_key.revoke",
        subject=key.name,
        steps=("refuse the key from the next request on; this cannot be taken back, a new key can be made",),
        blockers=(gone,) if key.revoked_at else (),
    )


class LiveFilter(admin.SimpleListFilter):
    title, parameter_name = "state", "state"

    def lookups(self, _request: HttpRequest, _model_admin: Any) -> list[tuple[str, str]]:
        return [(state, state) for state in ("valid", "expired", "revoked")]

    def queryset(self, _request: HttpRequest, rows: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
        now = timezone.now()
        match self.value():
            case "valid":
                return rows.filter(revoked_at=None, expires_at__gt=now)
            case "expired":
                return rows.filter(revoked_at=None, expires_at__lte=now)
            case "revoked":
                return rows.exclude(revoked_at=None)
        return rows


class ApiKeyAdmin(ReadOnlyAdmin):
    """One line a key. The secret is nowhere: only its hash is kept."""

    noun, nouns = "API key", "API keys"
    none_yet = "A key lets a system call the API under scopes of its own. Its secret is shown once."
    page_template = "admin/api_key.html"
    verbs = ("revoke",)
    list_before_template = "admin/parts/make_key_button.html"

    list_display = ("name", "standing", "principal", "may", "expires", "used", "made")
    list_filter = (LiveFilter,)
    search_fields = ("name__startswith", "principal__startswith")
    ordering = ("-created_at",)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        url = reverse("admin:controlplane_apikey_make") if request.user.has_perm(MANAGE) else ""
        return super().changelist_view(
            request,
            {"make_url": url, "first_step": ("Make an API key", url), "title": "API keys", **(extra_context or {})},
        )

    def extra_urls(self, name: str) -> Sequence[URLPattern]:
        return (path("make/", self.guarded(never_cache(self.make)), name=f"{name}_make"),)

    def make(self, request: HttpRequest) -> HttpResponse:
        """The form; after it the one page that ever shows the secret. It is not stored, so it cannot be reloaded."""
        if not request.user.has_perm(MANAGE):
            raise PermissionDenied
        form = KeyForm(request.POST or None)
        made: keys.NewKey | None = None
        if request.method == "POST" and form.is_valid():
            asked = form.cleaned_data
            try:
                made = keys.make_key(
                    principal=asked["principal"],
                    name=asked["name"],
                    scopes=asked["scopes"],
                    days=asked["days"],
                    actor=actor_of(request),
                )
            except TenureError as error:
                form.add_error(None, f"{error} {error.cure}")
        describe(form)
        context = {
            **self.admin_site.each_context(request),
            "crumbs": [("API keys", self.list_url())],
            "title": "Make an API key" if made is None else "The key, shown once",
            "form": form,
            "made": made,
            "cancel_url": self.list_url(),
            "api_url": request.build_absolute_uri("/api/v1/tenants"),
        }
        return TemplateResponse(request, "admin/make_key.html", context, status=422 if form.errors else 200)

    def page_context(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        allowed = [] if row.revoked_at else ["revoke"]
        return {"key": row, "state": state_of(row), "verbs": self.links(request, row, allowed), "title": row.name}

    @admin.display(description="state")
    def standing(self, key: ApiKey) -> SafeString:
        return badge("key", state_of(key))

    @admin.display(description="scopes")
    def may(self, key: ApiKey) -> SafeString:
        return format_html("<code>{}</code>", " ".join(key.scopes))

    @admin.display(description="expires", ordering="expires_at")
    def expires(self, key: ApiKey) -> SafeString:
        return moment(key.expires_at)

    @admin.display(description="last used", ordering="last_used_at")
    def used(self, key: ApiKey) -> SafeString:
        return moment(key.last_used_at, "never")

    @admin.display(description="made", ordering="created_at")
    def made(self, key: ApiKey) -> SafeString:
        return moment(key.created_at)

    @plan_then_confirm("Revoke", permission=MANAGE, plan=plan_revoke, icon="block", danger=True)
    def revoke(self, key: ApiKey, form: VerbForm) -> str:
        """Refuse the key from the next request on."""
        keys.revoke_key(key=key, actor=form.actor)
        return self.url_of(key)


def state_of(key: ApiKey) -> str:
    """`valid`, `expired` or `revoked`: keys of the label map."""
    if key.revoked_at:
        return "revoked"
    return "valid" if key.expires_at > timezone.now() else "expired"
