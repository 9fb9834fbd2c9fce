"""The request id: one UUID that a caller may bring, on every response, log line, audit entry and operation."""

from collections.abc import Callable
from uuid import UUID, uuid4

from django.http import HttpRequest, HttpResponse

from tenants.isolation.logs import doing

HEADER = "Request-Id"


def request_id_of(request: HttpRequest) -> str:
    """The id of this request, as text. Made when the caller brought none, or none that is a UUID."""
    known: str | None = getattr(request, "tenure_request_id", None)
    if known is None:
        try:
            known = str(UUID(request.headers.get(HEADER, "")))
        except ValueError:
            known = str(uuid4())
        request.tenure_request_id = known  # type: ignore[attr-defined]  # Django's request is open for attributes
    return known


class RequestIdMiddleware:
    """Puts the request id on every response, and on every log line meanwhile."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request_id = request_id_of(request)
        with doing(request_id=request_id):
            response = self.get_response(request)
        response[HEADER] = request_id
        return response
