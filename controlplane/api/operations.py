"""/operations: follow one, and the verbs that a person steers it with."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from controlplane.api.bodies import NoBodyRequest, Shape, shaped
from controlplane.api.endpoint import Endpoint, serves, who
from controlplane.api.errors import Code
from controlplane.api.etags import etag_of_body, unchanged
from controlplane.api.fields import IdOf, QueryFlag, id_schema
from controlplane.api.idempotency import Answer, once, optional_key
from controlplane.api.ids import found
from controlplane.api.openapi import ETAG, IF_NONE_MATCH, POLL_AFTER
from controlplane.api.operation_shape import TYPES, OperationShape, operation, operations, readable_runs
from controlplane.api.pagination import ListQuery, page, page_of
from controlplane.api.progress import stalled_runs
from controlplane.api.tenant_verbs import ReasonRequest
from controlplane.models import Scope
from provisioning import lifecycle
from provisioning.models import Run, RunState

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


def verb_with_reason(verb: Callable[..., None], name: str, meaning: str) -> type[Endpoint]:
    """The endpoint of a verb that says why."""

    class WithReason(Endpoint):
        @_steers(name, meaning, ReasonRequest)
        def post(self, request: Request, operation: str) -> HttpResponse:
            key, asked = optional_key(request), shaped(request, ReasonRequest)
            return _steered(request, operation, key, lambda run: verb(run, reason=asked["reason"], actor=who(request)))

    return WithReason


def verb_without_reason(verb: Callable[..., None], name: str, meaning: str) -> type[Endpoint]:
    """The endpoint of a verb that can be taken back, and so needs no reason."""

    class WithoutReason(Endpoint):
        @_steers(name, meaning, NoBodyRequest)
        def post(self, request: Request, operation: str) -> HttpResponse:
            key, _ = optional_key(request), shaped(request, NoBodyRequest)
            return _steered(request, operation, key, lambda run: verb(run, actor=who(request)))

    return WithoutReason


def _steers(name: str, meaning: str, takes: type[Shape]) -> Callable[[Any], Any]:
    return serves(
        scope=Scope.OPERATIONS_WRITE,
        name=f"{name}_operation",
        summary=meaning,
        takes=takes,
        keyed="accepted",
        parameters=(OPERATION,),
        answers={200: (OperationShape, "The operation as it is now.")},
        problems=(Code.NOT_FOUND, Code.STATE_CONFLICT, Code.OPERATION_IN_PROGRESS),
    )


def _steered(request: Request, operation_id: str, key: str | None, act: Callable[[Run], None]) -> HttpResponse:
    run = found(Run.objects.all(), "op", operation_id)

    def steer() -> Answer:
        act(run)
        return Answer(200, operation(run), run=run)

    return once(request, key=key, do=steer)


VERBS = {
    "pause": verb_without_reason(lifecycle.pause, "pause", "Stop at the next step boundary"),
    "resume": verb_without_reason(lifecycle.resume, "resume", "Go on after a pause"),
    "retry": verb_with_reason(lifecycle.retry, "retry", "Call the parked step again"),
    "skip": verb_with_reason(lifecycle.skip, "skip", "Go on without the parked step"),
    "undo": verb_with_reason(lifecycle.undo, "undo", "Take back what a parked operation has made"),
    "cancel": verb_with_reason(lifecycle.cancel, "cancel", "Stop, and take back what was made"),
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
