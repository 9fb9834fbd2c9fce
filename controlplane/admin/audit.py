"""The audit log, read-only: who did what to what, when, with what outcome, under which request.

Entries hold ids alone. Names are looked up here, in the rows that still exist: what was erased stays an id.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import OuterRef, Q, QuerySet, Subquery, UUIDField
from django.db.models.fields.json import KT
from django.db.models.functions import Cast
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from controlplane.admin.actors import actor, with_actor_names
from controlplane.admin.base import ReadOnlyAdmin
from controlplane.admin.operations import uuid_of
from controlplane.admin.words import NOTHING
from controlplane.templatetags.ops import badge, moment
from tenants.actions import AuditAction, Outcome
from tenants.models import AuditEntry, Tenant


def with_names(entries: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
    """Annotate what the list shows: the words of the body, and the names behind its ids."""
    worded = entries.annotate(
        at=KT("public__at"),
        action=KT("public__action"),
        actor=KT("public__actor"),
        outcome=KT("public__outcome"),
        tenant_id=Cast(KT("public__tenant"), UUIDField()),
        operation_id=Cast(KT("public__operation"), UUIDField()),
    )
    slug = Tenant.objects.filter(pk=OuterRef("tenant_id")).values("slug")[:1]
    named: QuerySet[AuditEntry] = with_actor_names(worded).annotate(slug=Subquery(slug))
    return named


def entries_of(tenant: Tenant) -> QuerySet[AuditEntry]:
    """One tenant's chain, newest first."""
    return with_names(AuditEntry.objects.filter(chain_id=tenant.audit_chain)).order_by("-seq")


class WordFilter(admin.SimpleListFilter):
    """A filter on one word of the body."""

    words: tuple[str, ...]

    def lookups(self, _request: HttpRequest, _model_admin: Any) -> list[tuple[str, str]]:
        return [(word, word) for word in self.words]

    def queryset(self, _request: HttpRequest, entries: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        return entries.filter(**{f"{self.parameter_name}__startswith": self.value()}) if self.value() else entries


class ActionFilter(WordFilter):
    title, parameter_name = "action", "action"
    words = tuple(dict.fromkeys(action.split(".")[0] for action in AuditAction))


class OutcomeFilter(WordFilter):
    title, parameter_name = "outcome", "outcome"
    words = tuple(Outcome)


class ActorFilter(WordFilter):
    title, parameter_name = "who", "actor"
    words = ("user", "api_key", "command", "system")


class AuditAdmin(ReadOnlyAdmin):
    """Every entry of every chain, newest first."""

    noun, nouns = "audit entry", "audit log"
    none_yet = "The log begins with the first change. Entries are chained by their hashes, and never change."

    list_display = ("when", "who", "what", "subject", "how", "counted", "position")
    list_display_links = None
    list_filter = (ActionFilter, OutcomeFilter, ActorFilter)
    search_fields = ("entry",)
    search_help_text = "ten_…, op_…, or the id of a request"
    ordering = ("-public__at",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[AuditEntry]:
        return with_names(super().get_queryset(request))

    def get_search_results(
        self, _request: HttpRequest, entries: QuerySet[AuditEntry], term: str
    ) -> tuple[QuerySet[AuditEntry], bool]:
        """By id alone: an entry holds no names."""
        if not term:
            return entries, False
        found = next((known for kind in ("ten", "op", "key") if (known := uuid_of(term, kind))), None)
        if found is None:
            return entries.none(), False
        if (chain := Tenant.objects.filter(pk=found).values_list("audit_chain", flat=True).first()) is not None:
            return entries.filter(chain_id=chain), False
        names = ("operation", "request", "object_id", "tenant")
        return entries.filter(Q(*((f"public__{name}", str(found)) for name in names), _connector=Q.OR)), False

    @admin.display(description="when")
    def when(self, entry: Any) -> SafeString:
        return moment(datetime.fromisoformat(entry.at))

    @admin.display(description="who")
    def who(self, entry: Any) -> SafeString:
        return actor(entry)

    @admin.display(description="what")
    def what(self, entry: Any) -> str:
        return str(entry.action)

    @admin.display(description="to what")
    def subject(self, entry: Any) -> SafeString:
        return subject_of(entry)

    @admin.display(description="outcome")
    def how(self, entry: Any) -> SafeString:
        return badge("outcome", entry.outcome)

    @admin.display(description="counts")
    def counted(self, entry: Any) -> str:
        counts: Mapping[str, int] = entry.public["counts"]
        return ", ".join(f"{number} {word}" for word, number in counts.items()) or NOTHING

    @admin.display(description="number in its chain")
    def position(self, entry: Any) -> str:
        return f"#{entry.seq}"


def subject_of(entry: Any) -> SafeString:
    """What an entry is about, as links: the operation where there is one, and the tenant."""
    parts = []
    if entry.slug:
        url = reverse("admin:tenants_tenant_change", args=[entry.tenant_id])
        parts.append(format_html('<a href="{}"><bdi>{}</bdi></a>', url, entry.slug))
    if entry.operation_id:
        url = reverse("admin:provisioning_run_change", args=[entry.operation_id])
        parts.append(format_html('<a href="{}"><code>op_{}…</code></a>', url, entry.operation_id.hex[:8]))
    if not parts:
        parts.append(
            format_html("{} <code>{}…</code>", entry.public["object_type"], str(entry.public["object_id"])[:8])
        )
    return format_html("{} {}", parts[0], parts[1] if len(parts) > 1 else "")
