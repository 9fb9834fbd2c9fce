"""From the host name of a request to the scope it runs in. Nothing else in a request can choose the tenant.

A token in `Authorization` must be the same tenant's: it can keep a request out, and never lead it elsewhere.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import ClassVar, cast

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.http.request import split_domain_port
from django.template.loader import render_to_string
from django.utils.cache import add_never_cache_headers, patch_cache_control, patch_vary_headers
from django_tenants.middleware.main import TenantMainMiddleware

from tenants.context import TenantContext, tenant_scope
from tenants.errors import NotAdmitted, TenureError
from tenants.isolation import tokens
from tenants.isolation.credentials import CredentialsRefused, CredentialsUnavailable, NoCredentialSource
from tenants.isolation.directory import COLUMNS, let_in
from tenants.isolation.keys import KeysRefused, KeysUnavailable, NoKeySource
from tenants.isolation.keyset import KeySetUnavailable
from tenants.isolation.refusals import Layer, refused
from tenants.isolation.storage import StorageRefused, StorageUnavailable
from tenants.models import Domain, Tenant
from tenants.states import TenantState

TEMPLATE = "tenants/closed.html"
SERVERS_AWAY = (CredentialsUnavailable, KeysUnavailable, KeySetUnavailable, StorageUnavailable, OperationalError)
WRONGLY_SET_UP = (CredentialsRefused, NoCredentialSource, KeysRefused, NoKeySource, StorageRefused)
PROBLEM = "application/problem+json"  # RFC 9457

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Notice:
    """A page instead of the application's. `again_s`: when it is worth trying again, in seconds; the page does."""

    status: HTTPStatus
    title: str
    text: str
    again_s: int | None = None


UNKNOWN = Notice(HTTPStatus.NOT_FOUND, "Nobody lives here", "No workspace has this address. Check its spelling.")
UNAVAILABLE = Notice(
    HTTPStatus.SERVICE_UNAVAILABLE, "Not available right now", "This workspace does not answer. We keep trying.", 5
)
BAD_TOKEN = Notice(HTTPStatus.UNAUTHORIZED, "The token is not valid here", "Ask for a new one.")
OTHER_TOKEN = Notice(
    HTTPStatus.FORBIDDEN, "The token is for another workspace", "It opens nothing here. Use it at its own address."
)
SUSPENDED = Notice(
    HTTPStatus.FORBIDDEN,
    "This workspace is suspended",
    "Its data is kept, and its doors are shut. Whoever manages it with the operator can have it opened again.",
)
CLOSED = Notice(
    HTTPStatus.FORBIDDEN,
    "This workspace is closed",
    "It was deleted, and its doors are shut. Its operator knows until when that can be taken back.",
)
BY_STATE: dict[TenantState, Notice] = {
    TenantState.PROVISIONING: Notice(
        HTTPStatus.SERVICE_UNAVAILABLE, "Almost there", "This workspace is being prepared. It opens here by itself.", 2
    ),
    TenantState.FAILED: Notice(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "This workspace could not be prepared",
        "Its operator has been told, and nothing is left half done. It opens here once a new attempt has succeeded.",
        30,
    ),
    TenantState.SUSPENDING: SUSPENDED,
    TenantState.SUSPENDED: SUSPENDED,
    TenantState.RESUMING: Notice(
        HTTPStatus.SERVICE_UNAVAILABLE, "Almost there", "This workspace is opened again. It takes a moment.", 2
    ),
    TenantState.DELETING: CLOSED,
    TenantState.DELETED: CLOSED,
    TenantState.ERASING: UNKNOWN,
    TenantState.ERASED: UNKNOWN,
}

AWAITED = (TenantState.PROVISIONING, TenantState.RESUMING)


class TenantHostMiddleware(TenantMainMiddleware):  # type: ignore[misc]  # django-tenants ships no types
    """django-tenants' host routing; what follows the match is ours: a scope instead of a switched connection.

    Hosts in settings.SITE_HOSTS belong to no tenant and are served by PUBLIC_SCHEMA_URLCONF, without a scope.
    """

    async_capable: ClassVar[bool] = False

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if (notice := self.process_request(request)) is not None:
            return notice
        context: TenantContext | None = request.tenant_context  # type: ignore[attr-defined]  # set just now
        if context is None:
            return self._answer(request)
        with tenant_scope(context):
            response = self._answer(request)
        if isinstance(response, StreamingHttpResponse) and not response.is_async:
            response.streaming_content = _each_in_scope(context, cast(Iterable[bytes], response.streaming_content))
        patch_vary_headers(response, ("Cookie", "Authorization"))
        if not response.has_header("Cache-Control"):
            patch_cache_control(response, private=True)
        return response

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        """Set `request.tenant`, `.tenant_context` and `.tenant_claims`, or answer with a notice.

        `tenant_claims` is what the request's token says, verified and of this tenant; None where there is none. No
        connection is switched.
        """
        request.tenant = request.tenant_context = request.tenant_claims = None  # type: ignore[attr-defined]
        try:
            host = self.hostname_from_request(request)
        except (DisallowedHost, UnicodeError):
            return _page_of_nobody(request, "no host name")
        if host in getattr(settings, "SITE_HOSTS", ()):
            self.setup_url_routing(request, force_public=True)
            return None
        try:
            self._enter(request, self.get_tenant(Domain, host))
        except Domain.DoesNotExist:
            return _page_of_nobody(request, "unknown host")
        except (NotAdmitted, tokens.TokenRefused, tokens.TokenOfAnotherTenant) as error:
            return _page_of_refusal(request, error)
        except (KeySetUnavailable, OperationalError) as error:
            return self.process_exception(request, error)
        return None

    @staticmethod
    def _enter(request: HttpRequest, tenant: Tenant) -> None:
        context = let_in(tenant)
        request.tenant_claims = _claims(request, tenant)  # type: ignore[attr-defined]
        request.tenant, request.tenant_context = tenant, context  # type: ignore[attr-defined]

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """A server that is away or refuses us is no fault of the page. Anything else goes on as it is."""
        if not isinstance(exception, SERVERS_AWAY + WRONGLY_SET_UP):
            return None
        level = logging.ERROR if isinstance(exception, WRONGLY_SET_UP) else logging.WARNING
        logger.log(level, "%s: %s %s", request.get_host(), exception, getattr(exception, "cure", ""))
        return _page(UNAVAILABLE, request)

    @staticmethod
    def hostname_from_request(request: HttpRequest) -> str:
        """In lower case, without port and trailing dot (RFC 1034 §3.1), and whole: `www.` may be another tenant."""
        return split_domain_port(request.get_host())[0]

    def get_tenant(self, domain_model: type[Domain], hostname: str) -> Tenant:
        """Only the columns that an application may read. Raises DoesNotExist."""
        columns = ("domain", *(f"tenant__{name}" for name in COLUMNS))
        try:
            return domain_model.objects.select_related("tenant").only(*columns).get(domain=hostname).tenant
        except domain_model.DoesNotExist:
            if (tenant := self._unfinished(hostname)) is None:
                raise
            return tenant

    def _unfinished(self, host: str) -> Tenant | None:
        """Whose host name it will be: the name is given by a late step of onboarding, and taken back if that fails."""
        slug, _, domain = host.partition(".")
        if domain != getattr(settings, "TENANT_DOMAIN", None):
            return None
        waiting = Tenant.objects.filter(slug=slug, state__in=(TenantState.PROVISIONING, TenantState.FAILED))
        return waiting.only(*COLUMNS).first()

    def _answer(self, request: HttpRequest) -> HttpResponseBase:
        get_response: Callable[[HttpRequest], HttpResponseBase] = self.get_response
        return get_response(request)


def _claims(request: HttpRequest, tenant: Tenant) -> tokens.Claims | None:
    """What the request's token says; None without a token, or where the header is the application's own affair."""
    token = tokens.bearer(request) if tokens.are_taken() else None
    if token is None:
        return None
    return tokens.claims_at(token, tenant_id=tenant.pk, incarnation=tenant.incarnation)


def _page_of_nobody(request: HttpRequest, reason: str) -> HttpResponse:
    refused(Layer.HOST, reason)
    return _page(UNKNOWN, request)


def _page_of_refusal(request: HttpRequest, error: TenureError) -> HttpResponse:
    """Of a tenant's state, or of a token, which says itself that it was refused."""
    if isinstance(error, NotAdmitted):
        return _page_of_state(request, TenantState(str(error.metadata["state"])), subject=str(error.metadata["tenant"]))
    if isinstance(error, tokens.TokenOfAnotherTenant):
        return _page(OTHER_TOKEN, request)
    response = _page(replace(BAD_TOKEN, text=f"{error} {error.cure}"), request)
    response["WWW-Authenticate"] = 'Bearer realm="tenant", error="invalid_token"'  # RFC 6750 §3
    return response


def _page_of_state(request: HttpRequest, state: TenantState, *, subject: str) -> HttpResponse:
    """Waiting until a tenant is ready is what its page asks for. Whoever comes to one that is shut is refused."""
    if state not in AWAITED:
        refused(Layer.HOST, f"tenant is {state}", subject=subject)
    return _page(BY_STATE[state], request)


def _page(notice: Notice, request: HttpRequest) -> HttpResponse:
    """For a program as a problem, for a person as a page.

    That is rendered without the request: a context processor may ask for the very server that is away.
    """
    if _is_program(request):
        problem = {"type": "about:blank", "title": notice.title, "status": notice.status, "detail": notice.text}
        response: HttpResponse = JsonResponse(problem, status=notice.status, content_type=PROBLEM)
    else:
        response = HttpResponse(render_to_string(TEMPLATE, {"notice": notice}), status=notice.status)
    if notice.again_s is not None:
        response["Retry-After"] = str(notice.again_s)
    add_never_cache_headers(response)
    patch_vary_headers(response, ("Accept", "Authorization"))
    # Django would log an error each time a page looks whether its tenant is ready; what is wrong is logged elsewhere.
    response._has_been_logged = True  # type: ignore[attr-defined]  # noqa: SLF001
    return response


def _is_program(request: HttpRequest) -> bool:
    """Whoever sends a token, or wants JSON rather than a page."""
    if tokens.bearer(request) is not None:
        return True
    return request.get_preferred_type(["text/html", "application/json", PROBLEM]) in {"application/json", PROBLEM}


def _each_in_scope(context: TenantContext, parts: Iterable[bytes]) -> Iterator[bytes]:
    """A body made while it is sent is made after the request's scope has closed. Open only around each part, since a
    generator shares its caller's context: left open, the scope would reach into the server's own code.
    """
    iterator = iter(parts)
    while True:
        with tenant_scope(context):
            part = next(iterator, None)
        if part is None:
            return
        yield part
