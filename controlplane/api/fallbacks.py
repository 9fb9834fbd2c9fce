"""Django's own error pages, which under /api/ are problems too: what fails before a view is reached."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views import defaults

from controlplane.api.codes import Code
from controlplane.api.errors import Problem, answer

API = "/api/"


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """A Host header we do not answer to, and the like."""
    if request.path.startswith(API):
        return answer(Problem(Code.MALFORMED_REQUEST), request)
    return defaults.bad_request(request, exception)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if request.path.startswith(API):
        return answer(Problem(Code.NOT_FOUND), request)
    return defaults.page_not_found(request, exception)


def server_error(request: HttpRequest, *_: Any) -> HttpResponse:
    if request.path.startswith(API):
        return answer(Problem(Code.INTERNAL), request)
    return defaults.server_error(request)
