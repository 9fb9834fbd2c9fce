"""/tenants: onboard, list, read, change."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import HttpResponse
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    PolymorphicProxySerializer,
    extend_schema_serializer,
    inline_serializer,
)
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from controlplane.api import etags
from controlplane.api.begun import begun
from controlplane.api.bodies import Shape, shaped
from controlplane.api.codes import Code
from controlplane.api.endpoint import Endpoint, PlanQuery, caller, request_id, serves, who
from controlplane.api.fields import Flag, Labels, QueryFlag, Slug, Text, id_schema
from controlplane.api.idempotency import Answer, once, optional_key, required_key
from controlplane.api.ids import found
from controlplane.api.openapi import ETAG, IF_MATCH, IF_MATCH_REQUIRED
from controlplane.api.operation_shape import OperationShape
from controlplane.api.pagination import ListQuery, page, page_of
from controlplane.api.plan_shape import VerbPlanShape, verb_plan
from controlplane.api.tenant_shape import HEALTH, TenantShape, readable_tenants, tenant_json, tenants
from controlplane.models import Scope
from provisioning import lifecycle
from provisioning.models import Release, Run
from provisioning.workflows.leaving import KEEP_DAYS
from provisioning.workflows.plans import VerbPlan
from provisioning.workflows.wishes import TenantWish
from tenants.models import Tenant
from tenants.states import DeleteReason, TenantState, Tier

TENANT = OpenApiParameter("tenant", id_schema("ten"), OpenApiParameter.PATH, description="The id of the tenant.")


@extend_schema_serializer(
    examples=[OpenApiExample("A tenant", value={"slug": "acme", "name": "Acme GmbH", "plan": "standard"})]
)
class OnboardRequest(Shape):
    """A tenant as asked for."""

    slug = Slug(help_text="The first part of its host name; some are reserved.")
    name = Text(max_length=200, help_text="For people to read.")
    plan = Text(max_length=48, help_text="The name of a plan: GET /plans.")
    external_ref = Text(
        required=False, allow_null=True, max_length=200, help_text="Your own id for it; unique for each key's owner."
    )
    tier = serializers.ChoiceField(
        choices=Tier.choices, required=False, allow_null=True, help_text="Left out: the plan's."
    )
    region = Text(required=False, allow_null=True, max_length=48, help_text="May be left out where there is only one.")
    labels = Labels(required=False)
    plan_digest = Text(
        required=False, allow_null=True, max_length=80, help_text="Of the plan you saw: 409 when it has changed."
    )


@extend_schema_serializer(examples=[OpenApiExample("Another name", value={"name": "Acme AG"})])
class ChangeTenantRequest(Shape):
    """What may be changed. Slug, tier and state are no fields to write: the verbs change them."""

    name = Text(required=False, max_length=200)
    plan = Text(required=False, max_length=48, help_text="The name of a plan. Moves nothing.")
    labels = Labels(required=False, help_text="All of them: what is left out is gone.")
    deletion_protection = Flag(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not attrs:
            raise serializers.ValidationError("Name at least one field to change.", code="empty")
        return attrs


class DeleteQuery(PlanQuery):
    """Why, and for how long its data is kept. In the query: many clients and proxies send no body with a DELETE."""

    reason = Text(required=False, max_length=500, help_text="Why; it is kept with the operation. Required to act.")
    delete_reason = serializers.ChoiceField(
        choices=DeleteReason.choices, required=False, help_text="The same in a word. Left out: `contract_ended`."
    )
    keep_days = serializers.IntegerField(
        required=False, help_text="Days from now to the purge of its data. Left out: 7."
    )
    plan_digest = Text(required=False, max_length=80, help_text="Of the plan you saw: 409 when it has changed.")


class TenantQuery(ListQuery):
    """Filters. A repeated one means "or", different ones mean "and"."""

    state = serializers.ListField(child=serializers.ChoiceField(choices=TenantState.choices), required=False)
    tier = serializers.ListField(child=serializers.ChoiceField(choices=Tier.choices), required=False)
    region = serializers.ListField(child=Text(max_length=48), required=False)
    cluster = serializers.ListField(child=Text(max_length=48), required=False)
    plan = serializers.ListField(child=Text(max_length=48), required=False)
    release = serializers.ListField(child=Text(max_length=48), required=False)
    health = serializers.ListField(child=serializers.ChoiceField(choices=HEALTH), required=False)
    slug = serializers.ListField(child=Text(max_length=300), required=False)
    external_ref = serializers.ListField(child=Text(max_length=200), required=False)
    behind = QueryFlag(required=False, help_text="Whether its rows are on another release than the current one.")
    created_after = serializers.DateTimeField(required=False)
    q = Text(required=False, max_length=100, help_text="A part of the slug or the name.")


FIELDS = {
    "state": "state__in",
    "region": "region__in",
    "plan": "plan__name__in",
    "release": "release__in",
    "health": "health__in",
    "slug": "slug__in",
    "external_ref": "external_ref__in",
    "created_after": "created_at__gt",
}
CHANGED = PolymorphicProxySerializer("ChangedOrPlan", {"tenant": TenantShape, "plan": VerbPlanShape}, "object")
AcceptedShape = inline_serializer("Accepted", {"operation": OperationShape(), "tenant": TenantShape()})


class Tenants(Endpoint):
    @serves(
        scope=Scope.TENANTS_READ,
        name="list_tenants",
        summary="List tenants",
        query=TenantQuery,
        answers={200: (page_of(TenantShape, "Tenant"), "One page, newest first.")},
    )
    def get(self, request: Request) -> Response:
        return Response(page(request, _filtered(readable_tenants(), self.asked), self.asked, tenants))

    @serves(
        scope=Scope.TENANTS_WRITE,
        name="onboard_tenant",
        summary="Onboard a tenant",
        query=PlanQuery,
        takes=OnboardRequest,
        keyed="required",
        answers={
            200: (VerbPlanShape, "With validate_only: the plan. Nothing was done."),
            202: (AcceptedShape, "Accepted: the operation to follow, and the tenant it is about."),
        },
        problems=(
            Code.TENANT_EXISTS,
            Code.PLAN_CHANGED,
            Code.UNSUPPORTED_TARGET,
            Code.NO_CAPACITY,
            Code.NO_RELEASE,
            Code.RELEASE_CANNOT_BE_POOLED,
        ),
    )
    def post(self, request: Request) -> HttpResponse | Response:
        """Accepts a tenant and returns at once; the operation makes its database, role, bucket, key and domain."""
        key = optional_key(request) if self.plan_only else required_key(request)
        asked = shaped(request, OnboardRequest)
        digest = asked.pop("plan_digest", None)
        given = {name: value for name, value in asked.items() if value is not None}
        wish = TenantWish(principal=caller(request).principal, **given)
        if key is None or self.plan_only:
            return Response(verb_plan(lifecycle.plan_onboard(wish=wish)))

        def onboard() -> Answer:
            run = lifecycle.onboard(
                wish=wish, actor=who(request), key=key, request_id=request_id(request), plan_digest=digest
            )
            return accepted(run)

        return once(request, key=key, do=onboard)


class OneTenant(Endpoint):
    @serves(
        scope=Scope.TENANTS_READ,
        name="read_tenant",
        summary="Read a tenant",
        parameters=(TENANT, ETAG),
        answers={200: (TenantShape, "The tenant.")},
        problems=(Code.NOT_FOUND,),
    )
    def get(self, _request: Request, tenant: str) -> Response:
        row = found(readable_tenants(), "ten", tenant)
        return Response(tenants([row])[0], headers={"ETag": etags.etag_of_version(row.version)})

    @serves(
        scope=Scope.TENANTS_WRITE,
        name="change_tenant",
        summary="Change a tenant",
        query=PlanQuery,
        takes=ChangeTenantRequest,
        keyed="accepted",
        parameters=(TENANT, IF_MATCH_REQUIRED, ETAG),
        answers={200: (CHANGED, "The tenant as it is now; with validate_only the plan, and nothing was done.")},
        problems=(
            Code.NOT_FOUND,
            Code.STATE_CONFLICT,
            Code.OPERATION_IN_PROGRESS,
            Code.ETAG_MISMATCH,
            Code.ETAG_REQUIRED,
            Code.UNSUPPORTED_TARGET,
        ),
    )
    def patch(self, request: Request, tenant: str) -> HttpResponse | Response:
        """Only the fields that are sent change. Needs If-Match, so that nobody overwrites what they have not seen."""
        key, changes = optional_key(request), shaped(request, ChangeTenantRequest)
        row = found(Tenant.objects.all(), "ten", tenant)

        def change() -> Answer:
            version = etags.required_version(request, row.version)
            changed = lifecycle.update_tenant(
                tenant=row, changes=changes, if_version=version, actor=who(request), request_id=request_id(request)
            )
            return tenant_answer(changed)

        if self.plan_only:
            with transaction.atomic():
                change()  # every check there is, and then nothing of it
                transaction.set_rollback(True)
            return Response(verb_plan(VerbPlan("tenant.change", row.slug, tuple(f"change {name}" for name in changes))))
        return once(request, key=key, do=change)

    @serves(
        scope=Scope.TENANTS_DELETE,
        name="delete_tenant",
        summary="Delete a tenant",
        query=DeleteQuery,
        keyed="accepted",
        parameters=(TENANT, IF_MATCH),
        answers={
            200: (VerbPlanShape, "With validate_only: the plan. Nothing was done."),
            202: (AcceptedShape, "Accepted: the operation that shuts it. Of a deleted tenant: the one that did."),
        },
        problems=(
            *(Code.NOT_FOUND, Code.STATE_CONFLICT, Code.PLAN_CHANGED, Code.OPERATION_IN_PROGRESS),
            *(Code.ETAG_MISMATCH, Code.DELETION_PROTECTED, Code.VALIDATION_FAILED),
        ),
    )
    def delete(self, request: Request, tenant: str) -> HttpResponse | Response:
        """Shuts every door and keeps the data until `purge_at`; `undelete` takes it back before. Destroys nothing."""
        key, row = optional_key(request), found(Tenant.objects.all(), "ten", tenant)
        keep_days: int = self.asked.get("keep_days", KEEP_DAYS)
        etags.expected_version(request, row.version)
        if self.plan_only:
            return Response(verb_plan(lifecycle.plan_delete(row, keep_days=keep_days)))

        def delete() -> Answer:
            lifecycle.plan_delete(row, keep_days=keep_days).confirm(self.asked.get("plan_digest"))
            run = lifecycle.delete_tenant(
                tenant=row,
                reason=self.asked.get("reason", ""),
                actor=who(request),
                key=key or str(uuid4()),
                request_id=request_id(request),
                keep_days=keep_days,
                delete_reason=DeleteReason(self.asked.get("delete_reason", DeleteReason.CONTRACT_ENDED)),
            )
            return accepted(run)

        return once(request, key=key, do=delete)


def accepted(run: Run) -> Answer:
    """202: where the operation is, and the tenant as it is in this very transaction."""
    return begun(run, tenant=tenant_json(run.tenant)) if run.tenant is not None else begun(run)


def tenant_answer(row: Tenant) -> Answer:
    body = tenant_json(row)
    return Answer(200, body, {"ETag": etags.etag_of_version(body["version"])})


def _filtered(rows: QuerySet[Tenant], asked: dict[str, Any]) -> QuerySet[Tenant]:
    rows = rows.filter(**{lookup: asked[name] for name, lookup in FIELDS.items() if name in asked})
    if "tier" in asked:
        rows = rows.filter(placements__active=True, placements__tier__in=asked["tier"])
    if "cluster" in asked:
        rows = rows.filter(placements__active=True, placements__cluster__name__in=asked["cluster"])
    if "behind" in asked:
        current = Release.objects.filter(current=True).values("name")
        on_another = Q(release__gt="") & ~Q(release__in=current)
        rows = rows.filter(on_another if asked["behind"] else ~on_another)
    if "q" in asked:
        rows = rows.filter(Q(slug__icontains=asked["q"]) | Q(name__icontains=asked["q"]))
    return rows
