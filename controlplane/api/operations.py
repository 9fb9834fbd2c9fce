"""/operations: follow one, and the verbs that a person steers it with."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, PolymorphicProxySerializer
from rest_framework import serializers
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from controlplane import run_plans
from controlplane.api.bodies import NoBodyRequest, Shape, shaped
from controlplane.api.codes import Code
from controlplane.api.endpoint import Endpoint, PlanQuery, serves, who
from controlplane.api.etags import etag_of_body, unchanged
from controlplane.api.fields import IdOf, QueryFlag, id_schema
from controlplane.api.idempotency import Answer, once, optional_key
from controlplane.api.ids import found
from controlplane.api.openapi import ETAG, IF_NONE_MATCH, POLL_AFTER
from controlplane.api.operation_shape import TYPES, OperationShape, operation_json, operations, readable_runs
from controlplane.api.pagination import ListQuery, page, page_of
from controlplane.api.plan_shape import VerbPlanShape, verb_plan
from controlplane.api.progress import stalled_runs
from controlplane.api.tenant_verbs import ReasonRequest
from controlplane.models import Scope
from provisioning import lifecycle
from provisioning.models import Run, RunState
from provisioning.workflows.plans import VerbPlan

OPERATION = OpenApiParameter("operation", id_schema("op"), OpenApiParameter.PATH, description="The operation's id.")
POLL_S, LONGEST_POLL_S = 1, 60


class OperationQuery(ListQuery):
    """Filters. A repeated one means "or", different ones mean "and"."""

    state = serializers.ListField(child=serializers.ChoiceField(choices=RunState.choices), required=False)
    type = serializers.ListField(child=serializers.ChoiceField(choices=list(TYPES)), required=False)
    tenant = serializers.ListField(child=IdOf("ten"), required=False)
    stalled = QueryFlag(required=False)
    since = serializers.DateTimeField(required=False, help_text="Accepted at this moment or later.")


class Operations(Endpoint):
    @serves(
        scope=Scope.TENANTS_READ,
        name="list_operations",
        summary="List operations",
        query=OperationQuery,
        answers={200: (page_of(OperationShape, "Operation"), "One page, newest first.")},
    )
    def get(self, request: Request) -> Response:
        return Response(page(request, _filtered(readable_runs(), self.asked), self.asked, operations))


class OneOperation(Endpoint):
    @serves(
        scope=Scope.TENANTS_READ,
        name="read_operation",
        summary="Follow an operation",
        parameters=(OPERATION, IF_NONE_MATCH, ETAG, POLL_AFTER),
        answers={200: (OperationShape, "The operation."), 304: (None, "It is as you have it.")},
        problems=(Code.NOT_FOUND,),
    )
    def get(self, request: Request, operation: str) -> HttpResponse:
        """Ask again after the seconds in Retry-After, with If-None-Match, until `done`."""
        row = found(readable_runs(), "op", operation)
        body = JSONRenderer().render(operations([row])[0])
        headers = {"ETag": etag_of_body(body)}
        if not row.ended:
            headers["Retry-After"] = str(_poll_after(row, timezone.now()))
        if unchanged(request, headers["ETag"]):
            return HttpResponse(status=304, headers=headers)
        return HttpResponse(body, headers=headers, content_type="application/json")


def steering(
    verb: Callable[..., None], plan: Callable[[Run], VerbPlan], meaning: str, takes: type[Shape] = ReasonRequest
) -> type[Endpoint]:
    """The endpoint of one verb. Those that cannot be taken back say why, and may name the plan that was seen."""

    class Steering(Endpoint):
        @serves(
            scope=Scope.OPERATIONS_WRITE,
            name=f"{verb.__name__}_operation",
            summary=meaning,
            query=PlanQuery,
            takes=takes,
            keyed="accepted",
            parameters=(OPERATION,),
            answers={200: (STEERED, "The operation as it is now; with validate_only the plan, and nothing was done.")},
            problems=(Code.NOT_FOUND, Code.STATE_CONFLICT, Code.PLAN_CHANGED),
        )
        def post(self, request: Request, operation: str) -> HttpResponse | Response:
            key, asked = optional_key(request), shaped(request, takes)
            run = found(Run.objects.all(), "op", operation)
            if self.plan_only:
                return Response(verb_plan(plan(run)))
            digest = asked.pop("plan_digest", None)

            def steer() -> Answer:
                plan(run).confirm(digest)
                verb(run, actor=who(request), **asked)
                return Answer(200, operation_json(run), run=run)

            return once(request, key=key, do=steer)

    return Steering


STEERED = PolymorphicProxySerializer("OperationOrPlan", {"operation": OperationShape, "plan": VerbPlanShape}, "object")
VERBS = {
    "pause": steering(lifecycle.pause, run_plans.plan_pause, "Stop at the next step boundary", NoBodyRequest),
    "resume": steering(lifecycle.resume, run_plans.plan_resume, "Go on after a pause", NoBodyRequest),
    "retry": steering(lifecycle.retry, run_plans.plan_retry, "Call the parked step again"),
    "skip": steering(lifecycle.skip, run_plans.plan_skip, "Go on without the parked step"),
    "undo": steering(lifecycle.undo, run_plans.plan_undo, "Take back what a parked operation has made"),
    "cancel": steering(lifecycle.cancel, run_plans.plan_cancel, "Stop, and take back what was made"),
}


def _poll_after(run: Run, now: datetime) -> int:
    """Seconds until something can have changed: the next attempt for one that waits, a minute for one that stands."""
    if run.state in {RunState.PAUSED, RunState.PARKED}:
        return LONGEST_POLL_S
    waits_s = 0.0 if run.held else (run.run_at - now).total_seconds()
    return min(max(math.ceil(waits_s), POLL_S), LONGEST_POLL_S)


def _filtered(rows: QuerySet[Run], asked: dict[str, Any]) -> QuerySet[Run]:
    if "state" in asked:
        rows = rows.filter(state__in=asked["state"])
    if "type" in asked:
        rows = rows.filter(workflow__in=[TYPES[type_] for type_ in asked["type"]])
    if "tenant" in asked:
        rows = rows.filter(tenant__in=asked["tenant"])
    if "since" in asked:
        rows = rows.filter(created_at__gte=asked["since"])
    if "stalled" in asked:
        standing = stalled_runs(Run.objects.all()).values("pk")
        rows = rows.filter(pk__in=standing) if asked["stalled"] else rows.exclude(pk__in=standing)
    return rows
