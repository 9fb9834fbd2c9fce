"""/erasure-requests/{id}/record-holds: single places of a request that a law keeps while the rest goes."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import F, QuerySet
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from controlplane.api.bodies import Json, NoBodyRequest, Shape, shaped
from controlplane.api.codes import Code
from controlplane.api.endpoint import Endpoint, serves, who
from controlplane.api.erasure_shape import ErasureShape, RecordHoldShape, readable_erasures
from controlplane.api.erasures import ERASURE, erasure_answer
from controlplane.api.errors import Problem
from controlplane.api.fields import Text
from controlplane.api.idempotency import Answer, once, required_key
from controlplane.api.ids import found
from controlplane.api.openapi import ETAG
from controlplane.api.pagination import ListQuery, page, page_of
from controlplane.models import Scope
from provisioning import lifecycle
from provisioning.models import ErasureRequest, RecordHold

KEPT = (
    "A tenant's are kept in an archive when the rest goes, one person's stay where they are. Either way the"
    " certificate says so, with the ground and the day of the review."
)
RECORDS = OpenApiParameter("hold", OpenApiTypes.UUID, OpenApiParameter.PATH, description="The id of the hold.")


@extend_schema_serializer(
    examples=[
        OpenApiExample(
            "An invoice",
            value={
                "store": "pool_rows",
                "locator": "eu-1:tenure_cluster/pool_1.billing_invoice",
                "record": "4711",
                "ground": "§ 147 AO",
                "review_at": "2036-12-31T00:00:00Z",
            },
        )
    ]
)
class RecordHoldRequest(Shape):
    """Which records stay, why, and when somebody looks again."""

    store = Text(max_length=48, help_text="As the plan names it.")
    locator = Text(max_length=200, help_text="The place in it, as the plan names it: a table, a bucket.")
    record = Text(
        max_length=40,
        required=False,
        default="",
        allow_blank=True,
        help_text="The key of one row, a number or a UUID, where a whole tenant is erased; left out: all of the place.",
    )
    ground = Text(max_length=200, help_text="The law or the case. No person's name: it stays after an erasure.")
    review_at = serializers.DateTimeField(
        help_text="When somebody looks whether it is still needed; it ends by no date."
    )


class RecordHolds(Endpoint):
    @serves(
        scope=Scope.ERASURE_READ,
        name="list_record_holds",
        summary="List the records that are held",
        query=ListQuery,
        parameters=(ERASURE,),
        answers={200: (page_of(RecordHoldShape, "RecordHold"), "One page, newest first; released ones, too.")},
        problems=(Code.NOT_FOUND,),
    )
    def get(self, request: Request, erasure: str) -> Response:
        return Response(page(request, _holds_of(erasure), self.asked, _shown))

    @serves(
        scope=Scope.ERASURE_REQUEST,
        name="hold_records",
        summary="Keep some records while the rest goes",
        takes=RecordHoldRequest,
        keyed="required",
        parameters=(ERASURE,),
        answers={201: (RecordHoldShape, KEPT)},
        problems=(Code.NOT_FOUND, Code.STATE_CONFLICT),
    )
    def post(self, request: Request, erasure: str) -> HttpResponse:
        """What was counted, proposed or approved before holds no more. The place is one that the plan names.

        Of a tenant it is a table: its rows, or one of them, are copied into an archive under a key of its own before
        anything is destroyed. What else a tenant has cannot be held apart from it: 422, `VALIDATION_FAILED`.
        """
        key, asked = required_key(request), shaped(request, RecordHoldRequest)
        row = found(readable_erasures(), "ers", erasure)

        def hold() -> Answer:
            held = lifecycle.hold_records(row, actor=who(request), key=key, **asked)
            return Answer(201, dict(RecordHoldShape(held).data))

        return once(request, key=key, do=hold)


class ReleaseRecords(Endpoint):
    @serves(
        scope=Scope.ERASURE_REQUEST,
        name="release_records",
        summary="Let held records go as well",
        takes=NoBodyRequest,
        keyed="required",
        parameters=(ERASURE, RECORDS, ETAG),
        answers={200: (ErasureShape, "The request by which they go: this one, or one that follows it.")},
        problems=(Code.NOT_FOUND, Code.STATE_CONFLICT),
    )
    def post(self, request: Request, erasure: str, hold: UUID) -> HttpResponse:
        """With the rest while that is still to come; else a request of their own opens, due when this one was.

        It is proposed and approved like any other; its certificate supersedes the one that names the records.
        """
        key = required_key(request)
        shaped(request, NoBodyRequest)
        row = _holds_of(erasure).select_related("request").filter(pk=hold).first()
        if row is None:
            raise Problem(Code.NOT_FOUND, f"No records are held by {str(hold)!r}.")

        def release() -> Answer:
            return erasure_answer(lifecycle.release_records(row, actor=who(request), key=key))

        return once(request, key=key, do=release)


def _holds_of(erasure: str) -> QuerySet[RecordHold]:
    """As lists want them: with `created_at`. Raises Problem NOT_FOUND."""
    row = found(ErasureRequest.objects.all(), "ers", erasure)
    held: QuerySet[RecordHold] = RecordHold.objects.filter(request=row).annotate(created_at=F("placed_at"))
    return held


def _shown(rows: Any) -> list[Json]:
    return [dict(RecordHoldShape(row).data) for row in rows]
