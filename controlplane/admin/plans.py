"""Plans: what a customer can buy, and how many did."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from controlplane.admin import words
from controlplane.admin.base import ReadOnlyAdmin
from tenants.models import Plan
from tenants.states import Tier


class PlanAdmin(ReadOnlyAdmin):
    """One line a plan; there are few, so the list is the page."""

    noun, nouns = "plan", "plans"
    none_yet = "A plan says which tier a tenant lives in, and its quotas. The first ones come with the installation."

    list_display = ("name", "tier", "description", "bucket_mode", "role", "connection_limit", "storage", "tenants")
    list_display_links = None
    list_filter = ("tier",)
    ordering = ("name",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Plan]:
        plans: QuerySet[Plan] = super().get_queryset(request)
        return plans.annotate(tenants_on_it=Count("tenant"))

    @admin.display(description="database role")
    def role(self, plan: Plan) -> str:
        return "the pool's" if plan.tier == Tier.POOL and not plan.own_role else "its own"

    @admin.display(description="storage quota", ordering="storage_quota_bytes")
    def storage(self, plan: Plan) -> str:
        return words.size(plan.storage_quota_bytes)

    @admin.display(description="tenants", ordering="tenants_on_it")
    def tenants(self, plan: Any) -> SafeString:
        url = reverse("admin:tenants_tenant_changelist")
        return format_html('<a href="{}?plan={}">{}</a>', url, plan.name, plan.tenants_on_it)
