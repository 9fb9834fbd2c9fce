"""/erasure-certificates/…: what anybody needs to check a certificate, without a key and without an account."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from controlplane.api.errors import answer, as_problem
from controlplane.api.pages import to_read
from provisioning import lifecycle
from provisioning.errors import Transient

FRESH_S = 60  # signing costs: whoever asks more often gets what a cache has kept


@to_read
def status(request: HttpRequest) -> HttpResponse:
    """The signed list of certificates that are superseded or withdrawn."""
    return _said(request, lifecycle.certificate_status, "application/json")


@to_read
def public_keys(request: HttpRequest) -> HttpResponse:
    """The public keys of all certificates, as a PEM file."""
    return _said(request, lifecycle.certificate_keys, "application/x-pem-file")


def _said(request: HttpRequest, say: Callable[[], bytes], media: str) -> HttpResponse:
    try:
        body = say()
    except Transient as error:
        return answer(as_problem(error, request), request)
    return HttpResponse(body, content_type=media, headers={"Cache-Control": f"public, max-age={FRESH_S}"})
