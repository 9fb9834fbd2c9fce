"""Every error the API answers with, as problem+json (RFC 9457).

One enum makes the code, its page under /problems/ and its place in the OpenAPI document.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from enum import StrEnum
from typing import Any

from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.core.signals import got_request_exception
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from rest_framework import exceptions
from rest_framework.renderers import JSONRenderer

from controlplane.requests import request_id_of
from provisioning import lifecycle
from provisioning.errors import Transient
from tenants.errors import TenureError

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 5  # for outages whose length nobody knows

log = logging.getLogger(__name__)


class Code(StrEnum):
    """A stable code, with its HTTP status, what it means, what to do, and whether a repeat can succeed later."""

    status: int
    summary: str
    hint: str
    retryable: bool

    def __new__(cls, value: str, status: int, summary: str, hint: str, retryable: bool = False) -> Code:  # noqa: FBT001, FBT002, PYI034
        code = str.__new__(cls, value)
        code._value_ = value
        code.status, code.summary, code.hint, code.retryable = status, summary, hint, retryable
        return code

    @property
    def page(self) -> str:
        """The last part of the problem's `type`: operation-in-progress."""
        return self.value.lower().replace("_", "-")

    MALFORMED_REQUEST = (
        "MALFORMED_REQUEST",
        400,
        "The request cannot be read",
        "Send JSON as RFC 8259 has it, without NUL characters and unpaired surrogates, and parameters as documented.",
    )
    UNKNOWN_PARAMETER = (
        "UNKNOWN_PARAMETER",
        400,
        "There is no such query parameter",
        "Compare its spelling with the documentation; a misspelt filter must not list the whole fleet.",
    )
    INVALID_CURSOR = (
        "INVALID_CURSOR",
        400,
        "The cursor is not one of ours",
        "Start again without a cursor and follow the answer's `next` and `previous` as they are.",
    )
    IDEMPOTENCY_KEY_MISSING = (
        "IDEMPOTENCY_KEY_MISSING",
        400,
        "This call needs an Idempotency-Key",
        "Send a fresh random key, a UUID for example, and the same one when you repeat the call.",
    )
    IDEMPOTENCY_KEY_INVALID = (
        "IDEMPOTENCY_KEY_INVALID",
        400,
        "The Idempotency-Key cannot be used",
        "Use 16 to 255 visible ASCII characters.",
    )
    NOT_AUTHENTICATED = (
        "NOT_AUTHENTICATED",
        401,
        "The API key is missing or does not open this door",
        "Send `Authorization: Bearer tnr_…`. Unknown, expired and revoked keys look alike; ask for a new one.",
    )
    SCOPE_MISSING = (
        "SCOPE_MISSING",
        403,
        "The API key may not do this",
        "Use a key that holds the scope named in `metadata`.",
    )
    NOT_FOUND = ("NOT_FOUND", 404, "There is no such thing", "Check the id: its prefix, and that it is complete.")
    METHOD_NOT_ALLOWED = (
        "METHOD_NOT_ALLOWED",
        405,
        "This address does not answer to that method",
        "The Allow header lists those it answers to.",
    )
    NOT_ACCEPTABLE = (
        "NOT_ACCEPTABLE",
        406,
        "The answer cannot be given in that form",
        "Accept application/json.",
    )
    OPERATION_IN_PROGRESS = (
        "OPERATION_IN_PROGRESS",
        409,
        "Another operation on this tenant has not finished",
        "Wait for the operation named in `metadata`, or cancel it.",
        True,
    )
    STATE_CONFLICT = (
        "STATE_CONFLICT",
        409,
        "The state does not allow this",
        "Read it again: its `actions` list what may be done now.",
    )
    TENANT_EXISTS = (
        "TENANT_EXISTS",
        409,
        "A tenant with this slug or external reference exists",
        "If it is yours, `metadata` names it; otherwise choose another slug.",
    )
    PLAN_CHANGED = (
        "PLAN_CHANGED",
        409,
        "The plan is no longer the one you saw",
        "Ask for the plan again with validate_only, and send its digest.",
    )
    IDEMPOTENCY_IN_PROGRESS = (
        "IDEMPOTENCY_IN_PROGRESS",
        409,
        "The first request with this key is still being answered",
        "Repeat the request after the time in Retry-After.",
        True,
    )
    ETAG_MISMATCH = (
        "ETAG_MISMATCH",
        412,
        "It has changed since you read it",
        "Read it again and repeat the change on what it is now.",
    )
    REQUEST_TOO_LARGE = (
        "REQUEST_TOO_LARGE",
        413,
        "The body is larger than any request needs to be",
        "Send at most 64 KiB.",
    )
    UNSUPPORTED_MEDIA_TYPE = (
        "UNSUPPORTED_MEDIA_TYPE",
        415,
        "The body is not of a type that can be read here",
        "Send application/json.",
    )
    VALIDATION_FAILED = (
        "VALIDATION_FAILED",
        422,
        "Some fields are not as they should be",
        "`errors` names each field and what is wrong with it.",
    )
    IDEMPOTENCY_KEY_REUSED = (
        "IDEMPOTENCY_KEY_REUSED",
        422,
        "This Idempotency-Key belongs to another request",
        "Use a fresh key for each new request, and the old one only to repeat the old request.",
    )
    UNSUPPORTED_TARGET = (
        "UNSUPPORTED_TARGET",
        422,
        "The plan does not include this tier",
        "Choose a tier of the plan, or a plan with this tier; GET /plans lists them.",
    )
    ETAG_REQUIRED = (
        "ETAG_REQUIRED",
        428,
        "A change needs If-Match",
        "Send the ETag you read, or `If-Match: *` to overwrite whatever is there.",
    )
    RATE_LIMITED = (
        "RATE_LIMITED",
        429,
        "Too many requests",
        "Wait for the time in Retry-After. A key's limits can be raised.",
        True,
    )
    INTERNAL = (
        "INTERNAL",
        500,
        "Something is wrong on our side",
        "Nothing of this request was done. Report the request id.",
    )
    NO_CAPACITY = (
        "NO_CAPACITY",
        503,
        "No cluster has room for this tenant",
        "Open or enlarge a cluster of the region, or choose another region.",
        True,
    )
    NO_RELEASE = (
        "NO_RELEASE",
        503,
        "No release of the tenant application is published",
        "An operator runs `manage.py publish_release`; then repeat the request.",
        True,
    )
    UNAVAILABLE = (
        "UNAVAILABLE",
        503,
        "A part this request needs does not answer",
        "Repeat the request after the time in Retry-After, with the same Idempotency-Key.",
        True,
    )


CODES = [str(code) for code in Code]


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
    headers = {"Retry-After": "2"} if code is Code.OPERATION_IN_PROGRESS else {}
    return Problem(code, str(exc), errors=errors, metadata=exc.metadata, hint=exc.cure, headers=headers)


def _type(code: Code, request: HttpRequest) -> str:
    path = f"/api/v1/problems/{code.page}"
    try:
        return request.build_absolute_uri(path)
    except SuspiciousOperation:  # a Host header we do not answer to: no URL can be made of it
        return path
