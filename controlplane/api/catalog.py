"""What tenants are placed by: /plans, /tiers, /clusters and /releases. To read; people change them in the admin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import Count, Model, Prefetch, Q, QuerySet
from drf_spectacular.utils import OpenApiParameter, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from controlplane.api.bodies import Json
from controlplane.api.codes import Code
from controlplane.api.endpoint import Endpoint, serves
from controlplane.api.errors import Problem
from controlplane.api.fields import PublicId, id_schema
from controlplane.api.ids import found
from controlplane.api.pagination import ListQuery, page, page_of
from controlplane.models import Scope
from provisioning.databases.releases import TEXTS
from provisioning.models import Release
from tenants.models import Cluster, Plan, Pool
from tenants.states import Tier

NAME = OpenApiParameter(
    "name", {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,48}$"}, OpenApiParameter.PATH, description="Its name."
)
RELEASE = OpenApiParameter("release", id_schema("rel"), OpenApiParameter.PATH, description="The id of the release.")


class PlanShape(serializers.ModelSerializer[Plan]):
    """What a customer buys."""

    tier = serializers.ChoiceField(choices=Tier.choices, read_only=True, help_text="Where its tenants' rows live.")
    bucket_mode = serializers.ChoiceField(choices=Plan.BucketMode.choices, read_only=True)
    storage_quota_bytes = serializers.IntegerField(read_only=True)
    own_role = serializers.BooleanField(
        read_only=True, help_text="In a pool: each tenant has a database role of its own, beside the signed context."
    )

    class Meta:
        model = Plan
        fields = (
            "name",
            "description",
            "tier",
            "bucket_mode",
            "connection_limit",
            "own_role",
            "storage_quota_bytes",
            "created_at",
        )
        read_only_fields = fields


class PoolShape(serializers.ModelSerializer[Pool]):
    """Tables that tenants share, on one cluster."""

    name = serializers.CharField(source="schema", read_only=True)
    state = serializers.ChoiceField(
        choices=Pool.State.choices, read_only=True, help_text="New tenants go to `open` ones only."
    )
    tenants = serializers.IntegerField(source="placed", read_only=True, help_text="How many it holds.")
    release = serializers.CharField(read_only=True, help_text="What its tables, and so its tenants, are on.")

    class Meta:
        model = Pool
        fields = ("name", "state", "capacity", "tenants", "release", "created_at")
        read_only_fields = fields


class ClusterShape(serializers.ModelSerializer[Cluster]):
    """A PostgreSQL server that tenants may be placed on."""

    state = serializers.ChoiceField(
        choices=Cluster.State.choices, read_only=True, help_text="New tenants go to `open` ones only."
    )
    tenants = serializers.IntegerField(read_only=True, help_text="How many it holds.")
    pools = PoolShape(many=True, read_only=True, help_text="Made on demand; the oldest first.")

    class Meta:
        model = Cluster
        fields = ("name", "region", "state", "capacity", "tenants", "max_running", "pools", "created_at")
        read_only_fields = fields


class PoolRefusalShape(serializers.Serializer[Any]):
    """One statement of a release that tenants who share tables cannot have."""

    statement = serializers.CharField(help_text="As the application's migration, or PostgreSQL's dump, has it.")
    reason = serializers.CharField(help_text="Why it cannot be pooled, a sentence.")
    instead = serializers.CharField(help_text="What to write in its place, a sentence.")


class ReleaseShape(serializers.ModelSerializer[Release]):
    """One published version of the tenant application."""

    id = PublicId("rel")
    state = serializers.ChoiceField(choices=Release.State.choices, read_only=True)
    apps = serializers.ListField(child=serializers.CharField(), read_only=True)
    pool_refusals = PoolRefusalShape(
        many=True, read_only=True, help_text="Why its tenants cannot be placed in pools; empty if they can."
    )

    class Meta:
        model = Release
        fields = (
            *("id", "name", "state", "current", "apps", "fingerprint"),
            *("pool_refusals", "created_at", "published_at"),
        )
        read_only_fields = fields


class TierShape(serializers.Serializer[Any]):
    name = serializers.ChoiceField(choices=Tier.choices)
    description = serializers.CharField()


class Plans(Endpoint):
    @serves(
        scope=Scope.TENANTS_READ,
        name="list_plans",
        summary="List plans",
        query=ListQuery,
        answers={200: (page_of(PlanShape, "Plan"), "One page, newest first.")},
    )
    def get(self, request: Request) -> Response:
        return Response(page(request, Plan.objects.all(), self.asked, _each(PlanShape)))


class OnePlan(Endpoint):
    @serves(
        scope=Scope.TENANTS_READ,
        name="read_plan",
        summary="Read a plan",
        parameters=(NAME,),
        answers={200: (PlanShape, "The plan.")},
        problems=(Code.NOT_FOUND,),
    )
    def get(self, _request: Request, name: str) -> Response:
        return Response(PlanShape(_named(Plan.objects.all(), name)).data)


class Clusters(Endpoint):
    @serves(
        scope=Scope.TENANTS_READ,
        name="list_clusters",
        summary="List clusters",
        query=ListQuery,
        answers={200: (page_of(ClusterShape, "Cluster"), "One page, newest first.")},
    )
    def get(self, request: Request) -> Response:
        return Response(page(request, _clusters(), self.asked, _each(ClusterShape)))


class OneCluster(Endpoint):
    @serves(
        scope=Scope.TENANTS_READ,
        name="read_cluster",
        summary="Read a cluster",
        parameters=(NAME,),
        answers={200: (ClusterShape, "The cluster.")},
        problems=(Code.NOT_FOUND,),
    )
    def get(self, _request: Request, name: str) -> Response:
        return Response(ClusterShape(_named(_clusters(), name)).data)


class Releases(Endpoint):
    @serves(
        scope=Scope.TENANTS_READ,
        name="list_releases",
        summary="List releases of the tenant application",
        query=ListQuery,
        answers={200: (page_of(ReleaseShape, "Release"), "One page, newest first.")},
    )
    def get(self, request: Request) -> Response:
        return Response(page(request, _releases(), self.asked, _each(ReleaseShape)))


class OneRelease(Endpoint):
    @serves(
        scope=Scope.TENANTS_READ,
        name="read_release",
        summary="Read a release",
        parameters=(RELEASE,),
        answers={200: (ReleaseShape, "The release.")},
        problems=(Code.NOT_FOUND,),
    )
    def get(self, _request: Request, release: str) -> Response:
        return Response(ReleaseShape(found(_releases(), "rel", release)).data)


class Tiers(Endpoint):
    @serves(
        scope=Scope.TENANTS_READ,
        name="list_tiers",
        summary="List tiers",
        answers={200: (inline_serializer("Tiers", {"results": TierShape(many=True)}), "All of them.")},
    )
    def get(self, _request: Request) -> Response:
        return Response({"results": [{"name": tier.value, "description": tier.label} for tier in Tier]})


def _clusters() -> QuerySet[Cluster]:
    pools = Pool.objects.order_by("created_at", "schema")
    counted = Cluster.objects.annotate(tenants=Count("placements", filter=Q(placements__active=True)))
    return counted.prefetch_related(Prefetch("pools", queryset=pools))


def _releases() -> QuerySet[Release]:
    return Release.objects.defer(*TEXTS)  # megabytes that no answer shows


def _each(shape: type[serializers.ModelSerializer[Any]]) -> Any:
    def represent(rows: Sequence[Model]) -> list[Json]:
        return [dict(shape(row).data) for row in rows]

    return represent


def _named(rows: QuerySet[Any], name: str) -> Any:
    if (row := rows.filter(name=name).first() if "\0" not in name else None) is None:
        raise Problem(Code.NOT_FOUND, f"There is no {rows.model.__name__.lower()} {name[:60]!r}.")
    return row
