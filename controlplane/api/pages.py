"""What people read: the OpenAPI document, a page to try it, one page per problem. All open, all without a network."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.views import SpectacularSwaggerView

from controlplane.api.errors import Code, Problem, answer


@require_safe
def schema(_request: HttpRequest) -> HttpResponse:
    """The OpenAPI document of what is running, as JSON."""
    return HttpResponse(_document(), content_type="application/vnd.oai.openapi+json;version=3.1")


@require_safe
def problem_page(request: HttpRequest, name: str = "") -> HttpResponse:
    """What a problem's `type` leads to: one code, or all of them."""
    codes = [code for code in Code if name in {"", code.page}]
    if not codes:
        return answer(Problem(Code.NOT_FOUND, f"There is no problem {name[:60]!r}."), request)
    return render(request, "api/problems.html", {"codes": codes})


class TryIt(SpectacularSwaggerView):
    """Swagger UI from our own static files."""

    authentication_classes: list[Any] = []
    permission_classes: list[Any] = []
    url_name = "api-schema"


def nowhere(request: HttpRequest, **_: Any) -> HttpResponse:
    """Every other address below /api/."""
    return answer(Problem(Code.NOT_FOUND, "There is no such address in this API."), request)


@cache
def _document() -> str:
    """Made once per process: it follows from the code alone."""
    return json.dumps(SchemaGenerator().get_schema(request=None, public=True))  # type: ignore[no-untyped-call]
