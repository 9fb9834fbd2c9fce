"""/erasure-requests: ask for an erasure, list and read requests, their plans and their certificates."""

from __future__ import annotations

import json
from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from controlplane.api import etags
from controlplane.api.bodies import Shape, shaped
from controlplane.api.codes import Code
from controlplane.api.endpoint import Endpoint, PlanQuery, caller, serves, who
from controlplane.api.erasure_request import AskErasureRequest, wish_of
from controlplane.api.erasure_shape import (
    ErasurePlanShape,
    ErasureShape,
    ErasureSummaryShape,
    erasure_json,
    erasure_plan_json,
    erasures,
    readable_erasures,
)
from controlplane.api.errors import Problem, invalid
from controlplane.api.fields import IdOf, id_schema
from controlplane.api.idempotency import Answer, answered, fingerprint_of, once, optional_key, required_key
from controlplane.api.ids import found
from controlplane.api.limits import count_erasure
from controlplane.api.openapi import ETAG, POLL_AFTER
from controlplane.api.pagination import ListQuery, page, page_of
from controlplane.api.plan_shape import VerbPlanShape, verb_plan
from controlplane.certificate_pdf import pdf
from controlplane.erasure_plans import plan_request
from controlplane.models import Scope
from provisioning import lifecycle
from provisioning.models import ENDED_REQUESTS, ErasureCertificate, ErasureKind, ErasureRequest, ErasureState
from tenants.models import Tenant

ERASURE = OpenApiParameter("erasure", id_schema("ers"), OpenApiParameter.PATH, description="The id of the request.")
POLL_S = 5
WORKED_ON = frozenset({ErasureState.PLANNING, ErasureState.FREEZING, ErasureState.ERASING, ErasureState.CHECKING})


class ErasureQuery(ListQuery):
    """Filters. A repeated one means "or", different ones mean "and"."""

    state = serializers.ListField(child=serializers.ChoiceField(choices=ErasureState.choices), required=False)
    scope = serializers.ListField(child=serializers.ChoiceField(choices=ErasureKind.choices), required=False)
    tenant = serializers.ListField(child=IdOf("ten"), required=False)


class CertificateQuery(Shape):
    """Which of the two, and in what form."""

    stage = serializers.ChoiceField(
        choices=ErasureCertificate.Stage.choices, required=False, help_text="Left out: the latest."
    )
    format = serializers.ChoiceField(
        choices=["json", "pdf"], required=False, help_text="`json`, as it was signed, or `pdf`, for people."
    )


class ErasureRequests(Endpoint):
    @serves(
        scope=Scope.ERASURE_READ,
        name="list_erasure_requests",
        summary="List erasure requests",
        query=ErasureQuery,
        answers={200: (page_of(ErasureSummaryShape, "Erasure"), "One page, newest first.")},
    )
    def get(self, request: Request) -> Response:
        return Response(page(request, _filtered(readable_erasures(), self.asked), self.asked, erasures))

    @serves(
        scope=Scope.ERASURE_REQUEST,
        name="request_erasure",
        summary="Ask for an erasure",
        query=PlanQuery,
        takes=AskErasureRequest,
        keyed="required",
        parameters=(ETAG,),
        answers={
            200: (VerbPlanShape, "With validate_only: by when, and what comes next. Nothing was done."),
            201: (ErasureShape, "It is dated from its receipt, and counted. Nothing goes before an approval."),
        },
        problems=(Code.DEADLINE_INFEASIBLE,),
    )
    def post(self, request: Request) -> HttpResponse | Response:
        """A second request for the same tenant or person is kept as `merged`, and brings the first one's date forward.

        Identifiers are sealed under a key of the request's own. They are in no answer, log, event or stored row.
        A key may ask for 10 erasures an hour unless it was made with another number; repeats and `validate_only` are
        not counted.
        """
        key = optional_key(request) if self.plan_only else required_key(request)
        asked = shaped(request, AskErasureRequest)
        tenant, wish = _tenant(asked), wish_of(asked)
        if key is None or self.plan_only:
            return Response(verb_plan(plan_request(tenant, wish)))

        def ask() -> Answer:
            row = lifecycle.request_erasure(tenant=tenant, wish=wish, actor=who(request), key=key)
            return erasure_answer(row, 201, Location=f"/api/v1/erasure-requests/{row.public_id}")

        # A plain hash of the body would fall to a dictionary of addresses.
        fingerprint = lifecycle.keyed_hash(b"api", fingerprint_of(request))
        if (before := answered(request, key=key, fingerprint=fingerprint)) is not None:
            return before  # a repeat is no further request
        count_erasure(caller(request))
        return once(request, key=key, do=ask, fingerprint=fingerprint)


class OneErasure(Endpoint):
    @serves(
        scope=Scope.ERASURE_READ,
        name="read_erasure_request",
        summary="Follow an erasure request",
        parameters=(ERASURE, ETAG, POLL_AFTER),
        answers={200: (ErasureShape, "The request.")},
        problems=(Code.NOT_FOUND,),
    )
    def get(self, _request: Request, erasure: str) -> Response:
        """While it is worked on, ask again after the seconds in Retry-After."""
        row = found(readable_erasures(), "ers", erasure)
        poll = {"Retry-After": str(POLL_S)} if row.state in WORKED_ON else {}
        return Response(erasure_json(row), headers={"ETag": etags.etag_of_version(row.version), **poll})


class PlanOfErasure(Endpoint):
    @serves(
        scope=Scope.ERASURE_READ,
        name="read_erasure_plan",
        summary="Read what would be erased",
        parameters=(ERASURE,),
        answers={200: (ErasurePlanShape, "What was proposed, else what was counted last.")},
        problems=(Code.NOT_FOUND, Code.STATE_CONFLICT),
    )
    def get(self, _request: Request, erasure: str) -> Response:
        """Exact counts per store and place. Whoever approves reads this, and sends its digest."""
        row = found(ErasureRequest.objects.all(), "ers", erasure)
        if (plan := erasure_plan_json(row)) is None:
            raise Problem(
                Code.STATE_CONFLICT,
                f"Nobody has counted for {row.public_id}: it is {row.state}.",
                metadata={"state": row.state, "actions": lifecycle.actions_of_erasure(row)},
            )
        return Response(plan)


class CertificateOfErasure(Endpoint):
    @serves(
        scope=Scope.ERASURE_READ,
        name="read_erasure_certificate",
        summary="Get a certificate of erasure",
        query=CertificateQuery,
        parameters=(ERASURE,),
        answers={200: (OpenApiTypes.OBJECT, "The certificate as it was signed: keep these bytes.")},
        papers={(200, "application/pdf"): OpenApiResponse(bytes, description="The same, for people to read.")},
        problems=(Code.NOT_FOUND, Code.ERASURE_NOT_CERTIFIED),
    )
    def get(self, _request: Request, erasure: str) -> HttpResponse:
        """A withdrawn one is served, too: what became of it is in /erasure-certificates/status, which anybody may read.

        docs/certificates.md says how to verify it without this installation.
        """
        row = found(ErasureRequest.objects.all(), "ers", erasure)
        kept = lifecycle.certificates_of_erasure(row)
        if "stage" in self.asked:
            kept = kept.filter(stage=self.asked["stage"])
        if (paper := kept.first()) is None:
            raise not_certified(row)
        if self.asked.get("format") == "pdf":
            return HttpResponse(pdf(json.loads(paper.document)), content_type="application/pdf")
        return HttpResponse(paper.document, content_type="application/json")


def erasure_answer(row: ErasureRequest, status: int = 200, **headers: str) -> Answer:
    """The request as it is in this very transaction."""
    now = readable_erasures().get(pk=row.pk)
    return Answer(status, erasure_json(now), {"ETag": etags.etag_of_version(now.version), **headers})


def not_certified(row: ErasureRequest) -> Problem:
    """409, naming what remains."""
    rows = row.stores.filter(round=row.round).exclude(verdict="clean")
    remains = {each.store: each.verdict or "not looked at" for each in rows.order_by("store")}
    never = f"Erasure {row.public_id} is {row.state}, and will have none." if row.state in ENDED_REQUESTS else ""
    return Problem(
        Code.ERASURE_NOT_CERTIFIED,
        never or f"Erasure {row.public_id} is {row.state}.",
        metadata={"state": row.state, "stores": remains},
    )


def _tenant(asked: dict[str, Any]) -> Tenant:
    tenant: Tenant | None = Tenant.objects.select_related("plan").filter(pk=asked["tenant"]).first()
    if tenant is None:
        raise invalid("tenant", "UNKNOWN", "There is no such tenant.")
    return tenant


def _filtered(rows: QuerySet[ErasureRequest], asked: dict[str, Any]) -> QuerySet[ErasureRequest]:
    lookups = {"state": "state__in", "scope": "kind__in", "tenant": "tenant__in"}
    return rows.filter(**{lookup: asked[name] for name, lookup in lookups.items() if name in asked})
