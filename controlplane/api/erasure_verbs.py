"""/erasure-requests/{id}/…: what people do with a request. The one who approves is neither who asked nor proposed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

from django.http import HttpResponse
from drf_spectacular.utils import PolymorphicProxySerializer
from rest_framework.request import Request
from rest_framework.response import Response

from controlplane.api import etags
from controlplane.api.bodies import NoBodyRequest, Shape, shaped
from controlplane.api.codes import Code
from controlplane.api.endpoint import Endpoint, PlanQuery, serves, who
from controlplane.api.erasure_request import (
    ErasureApprovalRequest,
    ErasureClosingRequest,
    ExtensionRequest,
    IdentityProofRequest,
    digest_of,
)
from controlplane.api.erasure_shape import ErasureShape, readable_erasures
from controlplane.api.erasures import ERASURE, erasure_answer
from controlplane.api.idempotency import Answer, once, optional_key
from controlplane.api.ids import found
from controlplane.api.openapi import ETAG, IF_MATCH
from controlplane.api.plan_shape import VerbPlanShape, rehearsed, verb_plan
from controlplane.models import Scope
from provisioning import lifecycle

ACTED = PolymorphicProxySerializer("ErasureOrPlan", {"erasure_request": ErasureShape, "plan": VerbPlanShape}, "object")


def acting(
    name: str,
    act: Callable[..., Any],
    meaning: str,
    takes: type[Shape] = NoBodyRequest,
    *,
    scope: Scope = Scope.ERASURE_REQUEST,
    problems: tuple[Code, ...] = (),
) -> type[Endpoint]:
    """The endpoint of one verb. `act` takes the request, the body's fields, `actor` and `key`."""

    class Acting(Endpoint):
        @serves(
            scope=scope,
            name=f"{name}_erasure",
            summary=meaning,
            query=PlanQuery,
            takes=takes,
            keyed="accepted",
            parameters=(ERASURE, IF_MATCH, ETAG),
            answers={200: (ACTED, "The request as it is now; with validate_only the plan, and nothing was done.")},
            problems=(Code.NOT_FOUND, Code.STATE_CONFLICT, Code.ETAG_MISMATCH, *problems),
        )
        def post(self, request: Request, erasure: str) -> HttpResponse | Response:
            key, asked = optional_key(request), shaped(request, takes)
            row = found(readable_erasures(), "ers", erasure)

            def do() -> Answer:
                etags.expected_version(request, row.version)
                act(row, actor=who(request), key=key or str(uuid4()), **asked)
                return erasure_answer(row)

            if self.plan_only:
                return Response(verb_plan(rehearsed(do, f"erasure.{name}", row.public_id, meaning)))
            return once(request, key=key, do=do)

    return Acting


def _approve(row: Any, *, plan_digest: str, **by: Any) -> None:
    lifecycle.approve_erasure(row, digest=digest_of(plan_digest), **by)


VERBS = {
    "prove-identity": acting(
        "prove_identity_of", lifecycle.prove_identity, "Whoever asked is the one", IdentityProofRequest
    ),
    "propose": acting(
        "propose", lifecycle.propose_erasure, "Freeze what was counted, for another to approve",
        problems=(Code.LEGAL_HOLD,),
    ),
    "approve": acting(
        "approve", _approve, "Approve another's plan: its grace begins", ErasureApprovalRequest,
        scope=Scope.ERASURE_APPROVE, problems=(Code.SAME_PERSON, Code.PLAN_CHANGED, Code.LEGAL_HOLD),
    ),
    "reject": acting(
        "reject", lifecycle.reject_erasure, "Close it; nothing is erased", ErasureClosingRequest,
        scope=Scope.ERASURE_APPROVE,
    ),
    "cancel": acting(
        "cancel", lifecycle.cancel_erasure, "Call it off, until something was destroyed", ErasureClosingRequest
    ),
    "extend": acting("extend", lifecycle.extend_erasure, "Take one or two more months, once", ExtensionRequest),
    "recheck": acting("recheck", lifecycle.recheck_erasure, "Have all verifiers look again, now"),
}  # fmt: skip
