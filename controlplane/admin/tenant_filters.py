"""What the list of tenants can be narrowed by. They stand on the annotations of TenantAdmin.get_queryset."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from tenants.models import Tenant
from tenants.states import TenantState, Tier


class TierFilter(admin.SimpleListFilter):
    """The tier where the rows live now."""

    title = "tier"
    parameter_name = "tier"

    def lookups(self, _request: HttpRequest, _model_admin: Any) -> list[tuple[str, str]]:
        return [*((tier.value, tier.value) for tier in Tier), ("none", "no place")]

    def queryset(self, _request: HttpRequest, tenants: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "none":
            return tenants.filter(placed_tier=None)
        return tenants.filter(placed_tier=self.value()) if self.value() else tenants


class LinkedFilter(admin.SimpleListFilter):
    """A filter that another page's link sets: its values may be more than fit in a row of choices."""

    field: str

    def lookups(self, request: HttpRequest, _model_admin: Any) -> list[tuple[str, str]]:
        value = request.GET.get(str(self.parameter_name))
        return [] if value is None else [(value, value or "none")]

    def has_output(self) -> bool:
        return bool(self.lookup_choices)

    def queryset(self, _request: HttpRequest, tenants: QuerySet[Any]) -> QuerySet[Any]:
        return tenants if self.value() is None else tenants.filter(**{self.field: self.value()})


class ClusterFilter(LinkedFilter):
    title, parameter_name, field = "cluster", "cluster", "placed_cluster"


class PoolFilter(LinkedFilter):
    title, parameter_name, field = "pool", "pool", "placed_pool"


class PlanFilter(LinkedFilter):
    title, parameter_name, field = "plan", "plan", "plan__name"


class ReleaseFilter(LinkedFilter):
    title, parameter_name, field = "release", "release", "release"


class HealthFilter(admin.SimpleListFilter):
    """Tenants with findings or an operation that needs a person."""

    title = "health"
    parameter_name = "health"

    def lookups(self, _request: HttpRequest, _model_admin: Any) -> list[tuple[str, str]]:
        return [("attention", "needs attention")]

    def queryset(self, _request: HttpRequest, tenants: QuerySet[Tenant]) -> QuerySet[Tenant]:
        wrong = Q(findings_open=True) | Q(parked=True) | Q(state=TenantState.FAILED)
        return tenants.filter(wrong) if self.value() == "attention" else tenants
