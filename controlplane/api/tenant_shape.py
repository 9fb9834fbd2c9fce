"""A tenant as the API shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import Case, CharField, Count, Exists, OuterRef, Prefetch, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from controlplane.api.bodies import Json
from controlplane.api.fields import Labels, PublicId
from controlplane.api.operation_shape import NAMES
from provisioning import lifecycle
from provisioning.models import ENDED, LegalHold, Release, Resource, Run, RunState, Schedule
from provisioning.workflows.accepting import SHARED_ROLE
from tenants.findings import Severity
from tenants.models import Placement, Tenant
from tenants.placement import public_id
from tenants.states import DeleteReason, TenantState, Tier

HEALTH = ("ok", "attention", "unknown")


class PlacementShape(serializers.ModelSerializer[Placement]):
    tier = serializers.ChoiceField(choices=Tier.choices, read_only=True)
    cluster = serializers.CharField(source="cluster.name", read_only=True)
    pool = serializers.CharField(
        source="pool.schema", read_only=True, allow_null=True, default=None, help_text="Null in the other tiers."
    )

    class Meta:
        model = Placement
        fields = ("tier", "cluster", "pool", "since")
        read_only_fields = fields


class ReleaseOfTenantShape(serializers.Serializer[Any]):
    """Which release of the tenant application its rows are on."""

    current = serializers.CharField(allow_null=True)
    target = serializers.CharField(allow_null=True, help_text="The one that new tenants are born on.")
    behind = serializers.IntegerField(min_value=0, help_text="How many releases lie between.")


class OpenOperationShape(serializers.Serializer[Any]):
    """The operation under way; the whole of it is at /operations/{id}."""

    id = serializers.CharField()
    type = serializers.CharField()
    state = serializers.ChoiceField(choices=RunState.choices)


class TenantShape(serializers.ModelSerializer[Tenant]):
    """A customer of the product: who, where, in what state, and what may be done."""

    id = PublicId("ten")
    object = serializers.SerializerMethodField()
    external_ref = serializers.CharField(read_only=True, allow_null=True)
    plan = serializers.CharField(source="plan.name", read_only=True)
    labels = Labels(read_only=True)
    version = serializers.IntegerField(read_only=True, help_text="Rises with every change; the ETag.")
    state = serializers.ChoiceField(choices=TenantState.choices, read_only=True)
    health = serializers.ChoiceField(
        choices=HEALTH, read_only=True, help_text="`attention`: findings or a parked operation. `unknown` is not ok."
    )
    placement = serializers.SerializerMethodField()
    release = serializers.SerializerMethodField()
    delete_reason = serializers.ChoiceField(
        choices=["", *DeleteReason.values], read_only=True, help_text="Why it is deleted; empty while it is not."
    )
    purge_at = serializers.DateTimeField(read_only=True, allow_null=True, help_text="From when on it may be erased.")
    holds = serializers.IntegerField(read_only=True, help_text="Open legal holds: while there is one, nothing is.")
    scheduled_suspension_at = serializers.DateTimeField(read_only=True, allow_null=True)
    scheduled_deletion_at = serializers.DateTimeField(read_only=True, allow_null=True)
    operation = serializers.SerializerMethodField()
    actions = serializers.SerializerMethodField(help_text="The verbs that its state allows now.")

    class Meta:
        model = Tenant
        fields = (
            "id",
            "object",
            "slug",
            "name",
            "external_ref",
            "plan",
            "region",
            "labels",
            "incarnation",
            "version",
            "state",
            "state_since",
            "health",
            "placement",
            "release",
            "deletion_protection",
            "delete_reason",
            "purge_at",
            "holds",
            "scheduled_suspension_at",
            "scheduled_deletion_at",
            "operation",
            "actions",
            "created_at",
            "updated_at",
        )
        read_only_fields = fields

    @extend_schema_field({"type": "string", "const": "tenant"})
    def get_object(self, _tenant: Tenant) -> str:
        return "tenant"

    @extend_schema_field(PlacementShape(allow_null=True))
    def get_placement(self, tenant: Any) -> Json | None:
        return dict(PlacementShape(tenant.active_placements[0]).data) if tenant.active_placements else None

    @extend_schema_field(ReleaseOfTenantShape)
    def get_release(self, tenant: Tenant) -> Json:
        published: list[str] = self.context["published"]
        behind = len(published) - 1 - published.index(tenant.release) if tenant.release in published else 0
        target = published[-1] if published else None
        return {"current": tenant.release or None, "target": target, "behind": behind}

    @extend_schema_field(OpenOperationShape(allow_null=True))
    def get_operation(self, tenant: Any) -> Json | None:
        if not tenant.open_runs:
            return None
        run = tenant.open_runs[0]
        return {"id": public_id("op", run.pk), "type": NAMES.get(run.workflow, run.workflow), "state": run.state}

    def get_actions(self, tenant: Any) -> list[str]:
        return lifecycle.actions_of_tenant(tenant, busy=bool(tenant.open_runs), shares_role=tenant.shares_role)


def readable_tenants() -> QuerySet[Tenant]:
    """Tenants with all that their JSON needs: plan, active placement, open operation and health."""
    resources = Resource.objects.filter(tenant=OuterRef("pk"))
    parked = Run.objects.filter(tenant=OuterRef("pk"), state=RunState.PARKED)
    ready = resources.filter(state=Resource.State.READY)
    health = Case(
        When(Exists(resources.filter(_serious())) | Exists(parked), then=Value("attention")),
        When(Q(state=TenantState.ACTIVE) & Exists(ready) & ~Exists(ready.filter(verified_at=None)), then=Value("ok")),
        default=Value("unknown"),
        output_field=CharField(),
    )
    holds = LegalHold.objects.filter(tenant=OuterRef("pk"), released_at=None).order_by().values("tenant")
    tenants: QuerySet[Tenant] = (
        Tenant.objects.select_related("plan")
        .annotate(health=health, shares_role=Exists(resources.filter(SHARED_ROLE)))
        .annotate(
            holds=Coalesce(Subquery(holds.annotate(n=Count("pk")).values("n")), 0),
            scheduled_suspension_at=_date_of(Schedule.Verb.SUSPEND),
            scheduled_deletion_at=_date_of(Schedule.Verb.DELETE),
        )
        .prefetch_related(
            Prefetch(
                "placements",
                queryset=Placement.objects.filter(active=True).select_related("cluster", "pool"),
                to_attr="active_placements",
            ),
            Prefetch(
                "runs",
                queryset=Run.objects.filter(parent=None).exclude(state__in=ENDED).order_by("-created_at"),
                to_attr="open_runs",
            ),
        )
    )
    return tenants


def _date_of(verb: Schedule.Verb) -> Subquery:
    waiting = Schedule.objects.filter(tenant=OuterRef("pk"), verb=verb, state=Schedule.State.WAITING)
    return Subquery(waiting.values("at")[:1])


def _serious() -> Q:
    """Findings that somebody should look at: a remark (`info`) is none."""
    serious = Q(pk__in=[])
    for severity in (Severity.WARNING, Severity.ERROR, Severity.CRITICAL):
        serious |= Q(findings__contains=[{"severity": severity}])
    return serious


def tenants(found: Sequence[Tenant]) -> list[Json]:
    """The JSON of tenants, which come from `readable_tenants()`."""
    published = list(
        Release.objects.filter(state=Release.State.PUBLISHED)
        .order_by("current", "published_at", "pk")
        .values_list("name", flat=True)
    )
    return [dict(TenantShape(tenant, context={"published": published}).data) for tenant in found]


def tenant_json(of: Tenant) -> Json:
    """The JSON of one tenant, read afresh."""
    return tenants([readable_tenants().get(pk=of.pk)])[0]
