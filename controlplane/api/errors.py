"""Every refusal as problem+json (RFC 9457): what a view raises, and what becomes of it. The codes are in codes.py."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.core.signals import got_request_exception
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from rest_framework import exceptions
from rest_framework.renderers import JSONRenderer

from controlplane.api.codes import Code
from controlplane.requests import request_id_of
from provisioning import lifecycle
from provisioning.errors import Transient
from tenants.errors import TenureError

MEDIA_TYPE = "application/problem+json"
SENT_AS = {"selection": "filter", "lock_timeout_ms": "lock_timeout_s", "k": "copies"}
OF_ERASURES: dict[type[TenureError], str] = {
    lifecycle.BadExtension: "months",
    lifecycle.DeadlineInfeasible: "grace_days",
}
RETRY_AFTER_S = 5  # for outages whose length nobody knows

log = logging.getLogger(__name__)


class Problem(Exception):
    """A refusal, complete: what the caller reads. `errors` are `{field, code, detail}`."""

    def __init__(
        self,
        code: Code,
        detail: str = "",
        *,
        errors: list[dict[str, str]] | None = None,
        metadata: Mapping[str, object] | None = None,
        hint: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail or code.summary)
        self.code, self.detail, self.hint = code, detail or f"{code.summary}.", hint or code.hint
        self.errors, self.metadata, self.headers = errors or [], dict(metadata or {}), dict(headers or {})
        if code.status in {429, 503}:
            self.headers.setdefault("Retry-After", str(RETRY_AFTER_S))


def invalid(field: str, code: str, detail: str) -> Problem:
    """One field of the body is wrong."""
    return Problem(Code.VALIDATION_FAILED, detail, errors=[{"field": field, "code": code, "detail": detail}])


def problem(exc: Exception, context: Mapping[str, Any]) -> HttpResponse:
    """Django REST framework's EXCEPTION_HANDLER: whatever a view raised becomes one problem."""
    request = context["request"]
    return answer(as_problem(exc, request), getattr(request, "_request", request))


def answer(refusal: Problem, request: HttpRequest) -> HttpResponse:
    """The response of a problem, for views and for Django's own error handlers."""
    body = {
        "type": _type(refusal.code, request),
        "title": refusal.code.summary,
        "status": refusal.code.status,
        "detail": refusal.detail,
        "instance": request.path,
        "code": refusal.code,
        "retryable": refusal.code.retryable,
        "errors": refusal.errors,
        "metadata": refusal.metadata,
        "hint": refusal.hint,
        "request_id": request_id_of(request),
    }
    return HttpResponse(
        JSONRenderer().render(body), status=refusal.code.status, content_type=MEDIA_TYPE, headers=refusal.headers
    )


def as_problem(exc: Exception, request: Any) -> Problem:  # noqa: C901, PLR0911, PLR0912  a line a kind
    """What kind of refusal an exception is. The unforeseen is INTERNAL: logged, and told to nobody outside."""
    match exc:
        case Problem():
            return exc
        case lifecycle.NoSuchTarget():
            return Problem(Code.NOT_FOUND, str(exc), hint=exc.cure)
        case TenureError() if exc.code in Code.__members__:
            return _of_ours(exc)
        case Transient():
            return Problem(Code.UNAVAILABLE, str(exc), hint=exc.cure)
        case exceptions.ValidationError():
            errors = list(flat(exc.get_full_details()))
            fields = ", ".join(sorted({error["field"] for error in errors}))
            return Problem(Code.VALIDATION_FAILED, f"Not as it should be: {fields}.", errors=errors)
        case exceptions.NotAuthenticated() | exceptions.AuthenticationFailed():
            return Problem(Code.NOT_AUTHENTICATED, headers={"WWW-Authenticate": 'Bearer realm="tenure"'})
        case exceptions.Throttled():
            return Problem(
                Code.RATE_LIMITED, headers={"Retry-After": str(int(getattr(exc, "wait", None) or RETRY_AFTER_S))}
            )
        case exceptions.PermissionDenied() | PermissionDenied():
            return Problem(Code.SCOPE_MISSING)
        case exceptions.NotFound() | Http404():
            return Problem(Code.NOT_FOUND)
        case exceptions.MethodNotAllowed():
            return Problem(Code.METHOD_NOT_ALLOWED)
        case exceptions.NotAcceptable():
            return Problem(Code.NOT_ACCEPTABLE)
        case exceptions.UnsupportedMediaType():
            return Problem(Code.UNSUPPORTED_MEDIA_TYPE)
        case exceptions.ParseError() | SuspiciousOperation() | UnreadablePostError():
            return Problem(Code.MALFORMED_REQUEST)
        case OperationalError() | InterfaceError():
            log.warning("the control database does not answer: %s", exc)
            return Problem(Code.UNAVAILABLE, "The control database does not answer.")
        case _:
            http_request = getattr(request, "_request", request)
            log.error("request %s failed", request_id_of(http_request), exc_info=exc)
            got_request_exception.send(sender=None, request=http_request)
            return Problem(Code.INTERNAL)


def flat(details: Any, field: str = "") -> Iterator[dict[str, str]]:
    """`{field, code, detail}` for each leaf of Django REST framework's nested details; `labels.team` is one."""
    if isinstance(details, list):
        for one in details:
            yield from flat(one, field)
    elif isinstance(details, dict) and set(details) == {"message", "code"}:
        yield {"field": field or "body", "code": str(details["code"]).upper(), "detail": str(details["message"])}
    else:
        for name, inner in details.items():
            inner_field = field if name == "non_field_errors" else f"{field}.{name}" if field else str(name)
            yield from flat(inner, inner_field)


def _of_ours(exc: TenureError) -> Problem:
    code = Code[exc.code]
    errors = [asdict(error) for error in exc.errors] if isinstance(exc, lifecycle.InvalidWish) else []
    if isinstance(exc, lifecycle.ReasonMissing):
        errors = [{"field": "reason", "code": "BLANK", "detail": str(exc)}]
    if isinstance(exc, lifecycle.InvalidRollout):
        errors = [{"field": _as_sent(str(exc.metadata["field"])), "code": "INVALID", "detail": str(exc)}]
    if isinstance(exc, lifecycle.BadExtension | lifecycle.DeadlineInfeasible):
        errors = [{"field": OF_ERASURES[type(exc)], "code": "INVALID", "detail": str(exc)}]
    if isinstance(
        exc, lifecycle.InvalidSchedule | lifecycle.InvalidHold | lifecycle.BadKeeping | lifecycle.InvalidErasure
    ):
        errors = [{"field": str(exc.metadata["field"]), "code": "INVALID", "detail": str(exc)}]
    headers = {"Retry-After": "2"} if code is Code.OPERATION_IN_PROGRESS else {}
    return Problem(code, str(exc), errors=errors, metadata=exc.metadata, hint=exc.cure, headers=headers)


def _as_sent(field: str) -> str:
    """What the API calls a field of a rollout's terms."""
    first, dot, rest = field.partition(".")
    return SENT_AS.get(first, first) + dot + rest


def _type(code: Code, request: HttpRequest) -> str:
    path = f"/api/v1/problems/{code.page}"
    try:
        return request.build_absolute_uri(path)
    except SuspiciousOperation:  # a Host header we do not answer to: no URL can be made of it
        return path
