"""What people read: the OpenAPI document, a page to try it, one page per problem. All open, all without a network."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache, wraps
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.views import SpectacularSwaggerView

from controlplane.api.codes import Code
from controlplane.api.errors import Problem, answer


def to_read(page: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """A page that can be read and nothing else; the refusal of other methods is a problem like any other."""

    @csrf_exempt
    @wraps(page)
    def read(request: HttpRequest, **named: Any) -> HttpResponse:
        if request.method in {"GET", "HEAD"}:
            return page(request, **named)
        return answer(Problem(Code.METHOD_NOT_ALLOWED, headers={"Allow": "GET, HEAD"}), request)

    return read


@to_read
def schema(_request: HttpRequest) -> HttpResponse:
    """The OpenAPI document of what is running, as JSON."""
    return HttpResponse(_document(), content_type="application/vnd.oai.openapi+json;version=3.1")


@to_read
def problem_page(request: HttpRequest, name: str = "") -> HttpResponse:
    """What a problem's `type` leads to: one code, or all of them."""
    codes = [code for code in Code if name in {"", code.page}]
    if not codes:
        return answer(Problem(Code.NOT_FOUND, f"There is no problem {name[:60]!r}."), request)
    return render(request, "api/problems.html", {"codes": codes})


class TryIt(SpectacularSwaggerView):
    """Swagger UI from our own static files."""

    http_method_names = ["get", "head"]
    authentication_classes: list[Any] = []
    permission_classes: list[Any] = []
    url_name = "api-schema"


@csrf_exempt  # or a POST to a misspelt address would be refused as a forgery, in HTML
def nowhere(request: HttpRequest, **_: Any) -> HttpResponse:
    """Every other address below /api/."""
    return answer(Problem(Code.NOT_FOUND, "There is no such address in this API."), request)


@cache
def _document() -> str:
    """Made once per process: it follows from the code alone."""
    return json.dumps(SchemaGenerator().get_schema(request=None, public=True))  # type: ignore[no-untyped-call]
