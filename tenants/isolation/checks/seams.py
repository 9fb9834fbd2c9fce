"""Cache, files, logs, host, cookies and tokens: settings under which a seam would serve everybody, or nobody."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any

import django
from django.apps import apps
from django.conf import settings
from django.core.checks import Error, Warning  # noqa: A004  Django's own name

from tenants.isolation import cache, logs, storage, tokens
from tenants.isolation.keyset import ASYMMETRIC

DJANGO = (5, 2, 19)
HOST_MIDDLEWARE = "tenants.isolation.middleware.TenantHostMiddleware"
CSRF_MIDDLEWARE = "tenants.isolation.csrf.TenantCsrfMiddleware"
SIGNED_COOKIES = "django.contrib.sessions.backends.signed_cookies"
PLATFORM_KEY = f"{cache.__name__}.{cache.make_platform_key.__name__}"
AFTER_THE_HOST = (
    "django.contrib.sessions.",
    "django.contrib.auth.",
    "django.contrib.messages.",
    "django.middleware.csrf.",
    "tenants.isolation.csrf.",
)


def caches_name_the_tenant(**_options: Any) -> Iterator[Error]:
    """tenants.E005: a cache whose keys do not say whose they are, or one that keeps whole pages."""
    hint = f'Set CACHES[…]["KEY_FUNCTION"] to "{cache.KEY_FUNCTION}".'
    for alias in cache.open_aliases(settings.CACHES):
        if apps.is_installed("provisioning") and _key_function(alias) in {PLATFORM_KEY, cache.make_platform_key}:
            continue  # the control plane works for nobody most of the time; inside a scope it is the tenant's key
        yield Error(f"CACHES[{alias!r}]: its keys do not name the tenant.", hint=hint, id="tenants.E005")
    for name in cache.page_caches(settings.MIDDLEWARE):
        yield Error(
            f"MIDDLEWARE has {name}, which keeps whole pages and asks for them before there is a tenant.",
            hint="Take it out. Use cache_page or the template tag inside a tenant's views instead.",
            id="tenants.E005",
        )


def files_are_tenants(**_options: Any) -> Iterator[Error]:
    """tenants.E006: files that would belong to no tenant."""
    for alias in storage.foreign_storages(settings.STORAGES):
        yield Error(
            f"STORAGES[{alias!r}] is no TenantStorage: files of all tenants would lie in one place.",
            hint='Set its BACKEND to "tenants.isolation.storage.TenantStorage". `staticfiles` may stay as it is.',
            id="tenants.E006",
        )


def host_comes_first(**_options: Any) -> Iterator[Error]:
    """tenants.E009: something may read the session, or the tenant's rows, before it is known whose they are."""
    names = list(settings.MIDDLEWARE)
    if HOST_MIDDLEWARE not in names:
        yield Error(
            f"MIDDLEWARE lacks {HOST_MIDDLEWARE}: no request has a tenant.",
            hint="Put it before what reads sessions.",
            id="tenants.E009",
        )
    elif early := [name for name in names[: names.index(HOST_MIDDLEWARE)] if name.startswith(AFTER_THE_HOST)]:
        yield Error(
            f"MIDDLEWARE has {early[0]} before {HOST_MIDDLEWARE}.",
            hint="Put it behind: sessions, users and messages are the tenant's.",
            id="tenants.E009",
        )


def handlers_are_stamped(**_options: Any) -> Iterator[Error]:
    """tenants.E010: log lines that do not say whose they are."""
    hint = (
        "Use LOGGING = tenants.isolation.logs.logging_settings(…), or give each handler a filter"
        ' {"()": "tenants.isolation.logs.TenantFilter"}.'
    )
    if getattr(settings, "LOGGING_CONFIG", None) is None:  # the project sets logging up itself: look at what came of it
        unstamped: list[str] = [repr(each) for each in logging.root.handlers if not _is_stamped(each)]
    elif not settings.LOGGING.get("handlers"):
        yield Error(
            "LOGGING has no handlers, so Django's own are used, without a tenant.", hint=hint, id="tenants.E010"
        )
        return
    else:
        unstamped = [f"LOGGING: {name!r}" for name in logs.unstamped_handlers(settings.LOGGING)]
    for name in unstamped:
        yield Error(f"{name} writes lines that name no tenant.", hint=hint, id="tenants.E010")


def tokens_are_told_apart(**_options: Any) -> Iterator[Error]:
    """tenants.E014: tokens are taken, and it is not said which."""
    url = tokens.key_set_url()
    wanted = ("TENURE_TOKEN_ISSUER", "TENURE_TOKEN_AUDIENCE")
    if not url or not any(hasattr(settings, name) for name in (*wanted, "TENURE_TOKEN_ALGORITHMS")):
        return
    found = [f"{name} is missing." for name in wanted if not getattr(settings, name, "")]
    algorithms: Iterable[str] = getattr(settings, "TENURE_TOKEN_ALGORITHMS", ("ES256",))
    if not algorithms or not set(algorithms) <= ASYMMETRIC:
        found.append("TENURE_TOKEN_ALGORITHMS is empty, or names an algorithm that is not asymmetric.")
    if not url.startswith(("http://", "https://")):
        found.append("TENURE_JWKS_URL is not an http or https address.")
    hint = "Issuer and audience are the control plane's; of algorithms leave ES256 alone, which it signs with."
    for says in found:
        yield Error(f"Tenants' tokens cannot be told apart: {says}", hint=hint, id="tenants.E014")


def cookies_stay_at_their_host(**_options: Any) -> Iterator[Warning]:
    """tenants.W002: a setting lets one tenant's cookie or host name count at another's."""
    spans = "Leave it unset: a cookie without a domain goes back to the host that set it, and nowhere else."
    found = [
        (f"{name} sends one tenant's cookie to others.", spans)
        for name in ("SESSION_COOKIE_DOMAIN", "CSRF_COOKIE_DOMAIN")
        if getattr(settings, name)
    ]
    if settings.USE_X_FORWARDED_HOST:
        found.append(
            ("USE_X_FORWARDED_HOST lets a header choose the tenant.", "Have the proxy pass the Host header on.")
        )
    if settings.SESSION_ENGINE == SIGNED_COOKIES:
        hint = "Keep sessions in the tenant's own database or cache."
        found.append(("SESSION_ENGINE: a session in a signed cookie is good at every tenant's host.", hint))
    if "django.middleware.csrf.CsrfViewMiddleware" in settings.MIDDLEWARE:
        hint = f"Put {CSRF_MIDDLEWARE} in place of Django's."
        found.append(("MIDDLEWARE: a CSRF cookie of one tenant fits at every other's host.", hint))
    for says, hint in found:
        yield Warning(says, hint=hint, id="tenants.W002")


def django_is_recent(**_options: Any) -> Iterator[Warning]:
    """tenants.W003: a Django without fixes to caches and signed cookies that matter across tenants."""
    if django.VERSION[:3] < DJANGO:
        yield Warning(
            f"Django {django.get_version()} lacks fixes to caches and signed cookies that matter across tenants.",
            hint=f"Install Django {'.'.join(map(str, DJANGO))} or newer.",
            id="tenants.W003",
        )


def _key_function(alias: str) -> object:
    return settings.CACHES[alias].get("KEY_FUNCTION")


def _is_stamped(handler: logging.Handler) -> bool:
    return isinstance(handler, logging.NullHandler) or any(isinstance(f, logs.TenantFilter) for f in handler.filters)
