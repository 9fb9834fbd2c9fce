"""Django's protection against forged requests, with a cookie that is good at one tenant's host alone.

Django compares a form's token with a cookie, and takes any pair that fits. So whoever can plant a cookie at globex (a
page at a sibling host name can) brings acme's pair along and is taken for globex's own form. Here the second half of
the cookie's secret is a MAC over the first one and the tenant's life: acme's pair fits nowhere else.

After `django.contrib.auth.login` the token changes, as in Django; what was rendered into that same response before its
cookie was set does not fit any more, so a login answers with a redirect, as Django's own view does.
"""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.middleware.csrf import CSRF_ALLOWED_CHARS, CSRF_SECRET_LENGTH, CsrfViewMiddleware
from django.utils.crypto import constant_time_compare, get_random_string, salted_hmac

from tenants.context import current_or_none
from tenants.isolation.refusals import Layer, refused

HALF = CSRF_SECRET_LENGTH // 2  # 16 of 62 characters: 95 bits each


class TenantCsrfMiddleware(CsrfViewMiddleware):
    """In place of CsrfViewMiddleware, after TenantHostMiddleware. With CSRF_USE_SESSIONS the session does its work."""

    def process_request(self, request: HttpRequest) -> None:
        super().process_request(request)
        if not settings.CSRF_USE_SESSIONS and not _is_ours(request.META.get("CSRF_COOKIE", "")):
            request.META["CSRF_COOKIE"] = _made()

    def _get_secret(self, request: HttpRequest) -> str | None:
        secret: str | None = super()._get_secret(request)  # type: ignore[misc]  # left out of django-stubs
        if secret is None or settings.CSRF_USE_SESSIONS or _is_ours(secret):
            return secret
        refused(Layer.HOST, "cookie of another host")
        return None

    def _set_csrf_cookie(self, request: HttpRequest, response: HttpResponseBase) -> None:
        if not settings.CSRF_USE_SESSIONS and not _is_ours(request.META["CSRF_COOKIE"]):
            request.META["CSRF_COOKIE"] = _made()  # Django's rotate_token() knows no tenant
        super()._set_csrf_cookie(request, response)  # type: ignore[misc]  # left out of django-stubs


def _made() -> str:
    first = get_random_string(HALF, CSRF_ALLOWED_CHARS)
    return first + _mac(first)


def _is_ours(secret: str) -> bool:
    return len(secret) == CSRF_SECRET_LENGTH and constant_time_compare(secret[HALF:], _mac(secret[:HALF]))


def _mac(first: str) -> str:
    scope = current_or_none()
    whose = "" if scope is None else scope.incarnation.hex
    number = int.from_bytes(salted_hmac("tenants.isolation.csrf", whose + first, algorithm="sha256").digest())
    text = ""
    while len(text) < HALF:
        number, place = divmod(number, len(CSRF_ALLOWED_CHARS))
        text += CSRF_ALLOWED_CHARS[place]
    return text
