"""What every address of the API has in common, and `@serves`: what one verb asks for and answers, said once.

The same words guard the verb (scope, query parameters) and describe it in the OpenAPI document.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeVar

from django.http import HttpResponse
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from controlplane.api.bodies import Shape, queried
from controlplane.api.codes import Code
from controlplane.api.errors import Problem
from controlplane.api.fields import QueryFlag
from controlplane.api.limits import KeyLimit
from controlplane.api.openapi import (
    IDEMPOTENCY_KEY,
    IDEMPOTENCY_KEY_OPTIONAL,
    IDEMPOTENT_REPLAYED,
    LOCATION,
    REPLY_HEADERS,
    problem_responses,
)
from controlplane.api.pagination import ListQuery
from controlplane.keys import actor_of
from controlplane.models import ApiKey, Scope
from controlplane.requests import request_id_of
from tenants.audit import Actor

Method = TypeVar("Method", bound=Callable[..., Response | HttpResponse])
Keyed = Literal["required", "accepted", "ignored"]

ALWAYS = (
    Code.MALFORMED_REQUEST,
    Code.UNKNOWN_PARAMETER,
    Code.NOT_AUTHENTICATED,
    Code.SCOPE_MISSING,
    Code.METHOD_NOT_ALLOWED,
    Code.NOT_ACCEPTABLE,
    Code.RATE_LIMITED,
    Code.INTERNAL,
    Code.UNAVAILABLE,
)
WITH_BODY = (Code.REQUEST_TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE, Code.VALIDATION_FAILED)
WITH_KEY = (Code.IDEMPOTENCY_KEY_INVALID, Code.IDEMPOTENCY_IN_PROGRESS, Code.IDEMPOTENCY_KEY_REUSED)


class NoQuery(Shape):
    """No query parameter at all."""


class PlanQuery(Shape):
    """What every verb takes."""

    validate_only = QueryFlag(
        required=False, help_text="Check everything, do nothing, and answer with the plan. Needs no Idempotency-Key."
    )


def serves(
    *,
    scope: Scope,
    name: str,
    summary: str,
    answers: Mapping[int, tuple[Any, str]],
    query: type[Shape] = NoQuery,
    takes: type[Shape] | None = None,
    keyed: Keyed = "ignored",
    problems: Iterable[Code] = (),
    parameters: Iterable[OpenApiParameter] = (),
    papers: Mapping[tuple[int, str], OpenApiResponse] | None = None,
) -> Callable[[Method], Method]:
    """Declare a verb: the scope it needs, `answers` by status as (shape, meaning), and the problems of its own.

    `name` is the operationId. `keyed` says what an Idempotency-Key is here. `papers` are answers that are no JSON, by
    status and media type.
    """
    codes = [*ALWAYS, *problems]
    headers: list[OpenApiParameter] = []
    if issubclass(query, ListQuery):
        codes.append(Code.INVALID_CURSOR)
    if takes is not None:
        codes += WITH_BODY
    if keyed == "required":
        codes += [Code.IDEMPOTENCY_KEY_MISSING, *WITH_KEY]
        headers += [IDEMPOTENCY_KEY, IDEMPOTENT_REPLAYED]
    elif keyed == "accepted":
        codes += WITH_KEY
        headers += [IDEMPOTENCY_KEY_OPTIONAL, IDEMPOTENT_REPLAYED]
    if {201, 202} & set(answers):  # created, or accepted
        headers.append(LOCATION)

    def declared(method: Method) -> Method:
        method.scope, method.query = scope, query  # type: ignore[attr-defined]  # read by HasScope and Endpoint
        document = extend_schema(
            operation_id=name,
            summary=summary,
            description=f"{(method.__doc__ or '').strip()}\n\nScope: `{scope}`.".strip(),
            request=takes,
            parameters=[*([query] if query is not NoQuery else []), *headers, *parameters, *REPLY_HEADERS],
            responses={
                **{
                    (status, "application/json"): OpenApiResponse(shape, description=meaning)
                    for status, (shape, meaning) in answers.items()
                },
                **(papers or {}),
                **problem_responses(codes),
            },
        )
        return document(method)

    return declared


class JsonOnly(DefaultContentNegotiation):
    """JSON, unless the caller excludes it; problem+json counts as JSON, for it is what a refusal would be."""

    def get_accept_list(self, request: Request) -> list[str]:
        accepted: list[str] = super().get_accept_list(request)
        return [media.replace("application/problem+json", "application/json") for media in accepted]


class Endpoint(APIView):
    """Authentication, scope, rate limit and query parameters are judged before any verb runs, in this order."""

    http_method_names = ["get", "head", "post", "patch", "delete"]
    throttle_classes = (KeyLimit,)
    content_negotiation_class = JsonOnly
    asked: dict[str, Any]

    @property
    def plan_only(self) -> bool:
        """Whether the caller wants to see the plan, and nothing done."""
        return bool(self.asked.get("validate_only", False))

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        handler = getattr(self, str(request.method).lower(), None)
        if handler is not None and request.method in {"GET", "HEAD", "POST", "PATCH", "DELETE"}:
            self.asked = queried(request, handler.query)


def caller(request: Request) -> ApiKey:
    """The key that called; permissions have made sure there is one."""
    if not isinstance(request.auth, ApiKey):
        raise Problem(Code.NOT_AUTHENTICATED)
    return request.auth


def needs(request: Request, scope: Scope) -> None:
    """For a verb that needs more than its own scope where the body asks for more. Raises Problem SCOPE_MISSING."""
    if scope not in caller(request).scopes:
        raise Problem(Code.SCOPE_MISSING, f"The key lacks the scope {scope}.", metadata={"scope": scope})


def who(request: Request) -> Actor:
    return actor_of(caller(request))


def request_id(request: Request) -> str:
    return request_id_of(request._request)  # noqa: SLF001  the request that carries it is Django's
