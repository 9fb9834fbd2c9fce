"""/tenants/{id}/schedules and /tenants/{id}/holds: dates for its verbs, and what the law keeps of it."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from controlplane.api.bodies import Json, Shape, shaped
from controlplane.api.codes import Code
from controlplane.api.endpoint import Endpoint, needs, request_id, serves, who
from controlplane.api.fields import PublicId, Text, Whole, id_schema
from controlplane.api.idempotency import Answer, once, optional_key, required_key
from controlplane.api.ids import found
from controlplane.api.pagination import ListQuery, page, page_of
from controlplane.api.tenants import TENANT
from controlplane.models import Scope
from provisioning import lifecycle
from provisioning.models import LegalHold, Schedule
from tenants.models import Tenant
from tenants.placement import public_id
from tenants.states import DeleteReason

SCHEDULE = OpenApiParameter("schedule", id_schema("sch"), OpenApiParameter.PATH, description="The id of the schedule.")
HOLD = OpenApiParameter("hold", id_schema("hld"), OpenApiParameter.PATH, description="The id of the hold.")


@extend_schema_serializer(
    examples=[
        OpenApiExample(
            "Dunning", value={"verb": "suspend", "at": "2027-02-01T06:00:00Z", "reason": "Invoice 4711 is unpaid."}
        )
    ]
)
class ScheduleRequest(Shape):
    """A verb and its date."""

    verb = serializers.ChoiceField(choices=Schedule.Verb.choices)
    at = serializers.DateTimeField(help_text="From when on: it is done at most some seconds later.")
    reason = Text(max_length=500, help_text="Why; the operation will carry it.")
    delete_reason = serializers.ChoiceField(
        choices=DeleteReason.choices, required=False, help_text="Of a deletion. Left out: `unpaid`."
    )
    keep_days = Whole(required=False, help_text="Of a deletion: days from then to the purge. Left out: 7.")


class ScheduleShape(serializers.ModelSerializer[Schedule]):
    """A date on which a tenant is suspended or deleted by itself."""

    id = PublicId("sch")
    verb = serializers.ChoiceField(choices=Schedule.Verb.choices, read_only=True)
    state = serializers.ChoiceField(
        choices=Schedule.State.choices, read_only=True, help_text="`refused`: the tenant did not allow it; see `note`."
    )
    operation = serializers.SerializerMethodField(help_text="What it started.")

    class Meta:
        model = Schedule
        fields = ("id", "verb", "at", "state", "reason", "note", "operation", "created_at", "settled_at")
        read_only_fields = fields

    def get_operation(self, row: Schedule) -> str | None:
        return public_id("op", row.operation_id) if row.operation_id else None


@extend_schema_serializer(
    examples=[OpenApiExample("A hold", value={"ground": "Tax audit 2026, § 147 AO", "review_on": "2027-06-30"})]
)
class HoldRequest(Shape):
    """Why the data must stay, and when somebody looks again."""

    ground = Text(max_length=200, help_text="The law or the case. No person's name: it stays after an erasure.")
    review_on = serializers.DateField(help_text="When somebody looks whether it is still needed; it ends by no date.")


class HoldShape(serializers.ModelSerializer[LegalHold]):
    """While one is open, nothing of the tenant is purged or erased."""

    id = PublicId("hld")

    class Meta:
        model = LegalHold
        fields = ("id", "ground", "review_on", "created_at", "released_at", "release_reason")
        read_only_fields = fields


@extend_schema_serializer(examples=[OpenApiExample("A reason", value={"reason": "The invoice was paid."})])
class SettleRequest(Shape):
    """Why."""

    reason = Text(max_length=500, help_text="Why; it is kept with the row.")


class SchedulesOfTenant(Endpoint):
    @serves(
        scope=Scope.TENANTS_READ,
        name="list_tenant_schedules",
        summary="List a tenant's dates",
        query=ListQuery,
        parameters=(TENANT,),
        answers={200: (page_of(ScheduleShape, "Schedule"), "One page, newest first.")},
        problems=(Code.NOT_FOUND,),
    )
    def get(self, request: Request, tenant: str) -> Response:
        row = found(Tenant.objects.all(), "ten", tenant)
        return Response(page(request, Schedule.objects.filter(tenant=row), self.asked, _schedules))

    @serves(
        scope=Scope.TENANTS_WRITE,
        name="schedule_tenant",
        summary="Set a date for a suspension or deletion",
        takes=ScheduleRequest,
        keyed="required",
        parameters=(TENANT,),
        answers={201: (ScheduleShape, "It waits for its date.")},
        problems=(Code.NOT_FOUND, Code.STATE_CONFLICT),
    )
    def post(self, request: Request, tenant: str) -> HttpResponse:
        """It fires once. A deletion also needs `tenants:delete`, and waits while a legal hold is open."""
        key, asked = required_key(request), shaped(request, ScheduleRequest)
        row = found(Tenant.objects.all(), "ten", tenant)
        if asked["verb"] == Schedule.Verb.DELETE:
            needs(request, Scope.TENANTS_DELETE)

        def make() -> Answer:
            made = lifecycle.schedule(tenant=row, actor=who(request), request_id=request_id(request), **asked)
            where = f"/api/v1/tenants/{row.public_id}/schedules/{made.public_id}"
            return Answer(201, dict(ScheduleShape(made).data), {"Location": where})

        return once(request, key=key, do=make)


class OneSchedule(Endpoint):
    @serves(
        scope=Scope.TENANTS_READ,
        name="read_tenant_schedule",
        summary="Read a date",
        parameters=(TENANT, SCHEDULE),
        answers={200: (ScheduleShape, "The schedule.")},
        problems=(Code.NOT_FOUND,),
    )
    def get(self, _request: Request, tenant: str, schedule: str) -> Response:
        row = found(Tenant.objects.all(), "ten", tenant)
        return Response(ScheduleShape(found(Schedule.objects.filter(tenant=row), "sch", schedule)).data)


class CancelSchedule(Endpoint):
    @serves(
        scope=Scope.TENANTS_WRITE,
        name="cancel_tenant_schedule",
        summary="Cancel a date",
        takes=SettleRequest,
        keyed="accepted",
        parameters=(TENANT, SCHEDULE),
        answers={200: (ScheduleShape, "It does not fire.")},
        problems=(Code.NOT_FOUND, Code.STATE_CONFLICT),
    )
    def post(self, request: Request, tenant: str, schedule: str) -> HttpResponse:
        """What it has started already is an operation of its own."""
        key, asked = optional_key(request), shaped(request, SettleRequest)
        owner = found(Tenant.objects.all(), "ten", tenant)
        row = found(Schedule.objects.filter(tenant=owner), "sch", schedule)

        def cancel() -> Answer:
            cancelled = lifecycle.cancel_schedule(
                schedule=row, reason=asked["reason"], actor=who(request), request_id=request_id(request)
            )
            return Answer(200, dict(ScheduleShape(cancelled).data))

        return once(request, key=key, do=cancel)


class HoldsOfTenant(Endpoint):
    @serves(
        scope=Scope.TENANTS_READ,
        name="list_tenant_holds",
        summary="List a tenant's legal holds",
        query=ListQuery,
        parameters=(TENANT,),
        answers={200: (page_of(HoldShape, "LegalHold"), "One page, newest first.")},
        problems=(Code.NOT_FOUND,),
    )
    def get(self, request: Request, tenant: str) -> Response:
        row = found(Tenant.objects.all(), "ten", tenant)
        return Response(page(request, LegalHold.objects.filter(tenant=row), self.asked, _holds))

    @serves(
        scope=Scope.HOLDS_WRITE,
        name="place_tenant_hold",
        summary="Place a legal hold",
        takes=HoldRequest,
        keyed="required",
        parameters=(TENANT,),
        answers={201: (HoldShape, "Nothing of the tenant is purged or erased while it is open.")},
        problems=(Code.NOT_FOUND, Code.STATE_CONFLICT),
    )
    def post(self, request: Request, tenant: str) -> HttpResponse:
        """Suspending and deleting stay possible: they keep the data."""
        key, asked = required_key(request), shaped(request, HoldRequest)
        row = found(Tenant.objects.all(), "ten", tenant)

        def place() -> Answer:
            placed = lifecycle.place_hold(tenant=row, actor=who(request), request_id=request_id(request), **asked)
            where = f"/api/v1/tenants/{row.public_id}/holds/{placed.public_id}"
            return Answer(201, dict(HoldShape(placed).data), {"Location": where})

        return once(request, key=key, do=place)


class OneHold(Endpoint):
    @serves(
        scope=Scope.TENANTS_READ,
        name="read_tenant_hold",
        summary="Read a legal hold",
        parameters=(TENANT, HOLD),
        answers={200: (HoldShape, "The hold.")},
        problems=(Code.NOT_FOUND,),
    )
    def get(self, _request: Request, tenant: str, hold: str) -> Response:
        row = found(Tenant.objects.all(), "ten", tenant)
        return Response(HoldShape(found(LegalHold.objects.filter(tenant=row), "hld", hold)).data)


class ReleaseHold(Endpoint):
    @serves(
        scope=Scope.HOLDS_WRITE,
        name="release_tenant_hold",
        summary="Release a legal hold",
        takes=SettleRequest,
        keyed="accepted",
        parameters=(TENANT, HOLD),
        answers={200: (HoldShape, "It holds nothing any more.")},
        problems=(Code.NOT_FOUND, Code.STATE_CONFLICT),
    )
    def post(self, request: Request, tenant: str, hold: str) -> HttpResponse:
        """What it held back goes on by itself, unless another hold is open."""
        key, asked = optional_key(request), shaped(request, SettleRequest)
        owner = found(Tenant.objects.all(), "ten", tenant)
        row = found(LegalHold.objects.filter(tenant=owner), "hld", hold)

        def release() -> Answer:
            released = lifecycle.release_hold(
                hold=row, reason=asked["reason"], actor=who(request), request_id=request_id(request)
            )
            return Answer(200, dict(HoldShape(released).data))

        return once(request, key=key, do=release)


def _schedules(rows: Any) -> list[Json]:
    return [dict(ScheduleShape(row).data) for row in rows]


def _holds(rows: Any) -> list[Json]:
    return [dict(HoldShape(row).data) for row in rows]
