"""Attacks over HTTP: the kit's middleware, a view that wants a token, and keys from the control plane's process."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.contrib.sessions.backends.cache import SessionStore
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory, override_settings
from rest_framework.response import Response
from rest_framework.views import APIView

from examples.projects.models import Project
from provisioning.models import SigningKey
from provisioning.workflows import tokens as minting
from tenants.context import TenantContext, tenant_scope
from tenants.isolation.csrf import TenantCsrfMiddleware
from tenants.isolation.middleware import TenantHostMiddleware
from tenants.isolation.rest import HasTokenScope, TenantTokenAuthentication
from tenants.models import Tenant
from tenants.states import TenantState
from tests.isolation.arena import Arena
from tests.isolation.attack import Attempt
from tests.tenants.isolation import forge
from tests.tenants.isolation.test_tokens import Listening, minted


class Names(APIView):
    """What a token of the tenant's opens."""

    authentication_classes = (TenantTokenAuthentication,)
    permission_classes = (HasTokenScope,)
    token_scopes = {"GET": "projects:read"}

    def get(self, _request: Any) -> Response:
        return Response(list(Project.objects.values_list("name", flat=True)))


def host_of(context: TenantContext) -> str:
    return f"{context.slug}.localhost"


def ask(host: str, token: str, **headers: str) -> str:
    """Status and body, through the middleware, as a server would call it."""
    given = {"Host": host, "Authorization": f"Bearer {token}", "Accept": "application/json", **headers}
    view: Any = Names.as_view()
    with override_settings(REST_FRAMEWORK={"DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"]}):
        answer: Any = TenantHostMiddleware(view)(RequestFactory().get("/", headers=given))
        if hasattr(answer, "render"):
            answer.render()
    return f"{answer.status_code} {answer.content.decode()}"


def enters(arena: Arena) -> bool:
    return ask(host_of(arena.acme), minted(arena.acme)) == f'200 ["{arena.own}"]'


def signing() -> tuple[Any, str]:
    """The key that the control plane signs with, and its id."""
    key = SigningKey.objects.filter(revoked_at=None).latest("signs_from")
    return minting._private(key), key.kid.hex


def forge_tokens(arena: Arena) -> Iterable[Attempt]:
    """AT-40: globex's name in tokens that nobody signed, or that were signed for something else."""
    own = minted(arena.acme)
    key, kid = signing()
    header, _payload, signature = own.split(".")
    claims = forge.claims_for(arena.globex)
    public = key.public_key()
    past = datetime.now(tz=UTC) - timedelta(hours=1)
    theirs = forge.assembled({}, claims).split(".")[1]
    tokens = {
        "alg none": forge.assembled({"alg": "none", "kid": kid}, claims),
        "alg None": forge.assembled({"alg": "None", "kid": kid}, claims),
        "public key as secret": forge.with_public_key_as_secret(
            claims, kid=kid, secret=public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        ),
        "another key": forge.signed(claims, forge.ANOTHER_KEY, kid=kid),
        "acme's signature": f"{header}.{theirs}.{signature}",
        "a signature of zeros": forge.assembled({"alg": "ES256", "kid": kid}, claims, bytes(64)),
        "another issuer": forge.signed({**claims, "iss": "globex"}, key, kid=kid),
        "another audience": forge.signed({**claims, "aud": "elsewhere"}, key, kid=kid),
        "expired": forge.signed({**claims, "iat": past, "nbf": past, "exp": past + timedelta(minutes=5)}, key, kid=kid),
        "no tenant": forge.signed(forge.claims_for(arena.globex, tenant=None), key, kid=kid),
    }
    for what, token in tokens.items():
        yield Attempt(what, "^'401 ", partial(ask, host_of(arena.globex), token))


def bring_keys(arena: Arena) -> Iterable[Attempt]:
    """AT-41: a token that says where its key is."""
    claims = forge.claims_for(arena.globex)
    with Listening() as server:
        for kid in (uuid4().hex, "../../etc/passwd", server.url, "' OR true --"):
            for header in ({}, {"jku": server.url}, {"x5u": server.url}):
                token = forge.signed(claims, forge.ANOTHER_KEY, kid=kid, **header)
                yield Attempt(f"{kid} {header}", "^'401 ", partial(ask, host_of(arena.globex), token))
        yield Attempt("requests sent out", r"^\[\]$", lambda: list(server.heard))


def elsewhere(arena: Arena) -> Iterable[Attempt]:
    """AT-42: acme's token at globex's host, and hosts named in headers."""
    token = minted(arena.acme)
    at_home, own = host_of(arena.acme), f"^'200 .*{arena.own}"
    yield Attempt("at globex's host", "^'403 ", partial(ask, host_of(arena.globex), token))
    yield Attempt("at globex's host in capitals", "^'403 ", partial(ask, host_of(arena.globex).upper(), token))
    yield Attempt("at no host", "^'404 ", partial(ask, "nobody.localhost", token))
    for header in ("X-Tenant-ID", "X-Tenant", "X-Forwarded-Host", "Forwarded", "X-Original-Host"):
        for value in (host_of(arena.globex), str(arena.globex.tenant_id)):
            yield Attempt(f"{header}: {value}", own, partial(ask, at_home, token, **{header: value}))


@contextmanager
def restored(arena: Arena) -> Iterator[None]:
    try:
        yield
    finally:
        life = {"state": TenantState.ACTIVE, "incarnation": arena.acme.incarnation}
        Tenant.objects.filter(pk=arena.acme.tenant_id).update(**life)


def outlive(arena: Arena) -> Iterable[Attempt]:
    """AT-43: a token of a tenant that is not what it was."""
    token, row = minted(arena.acme), Tenant.objects.filter(pk=arena.acme.tenant_id)
    act: Callable[[], object] = partial(ask, host_of(arena.acme), token)
    for state, status in ((TenantState.SUSPENDED, 403), (TenantState.PROVISIONING, 503), (TenantState.FAILED, 503)):
        row.update(state=state)
        yield Attempt(state, f"^'{status} ", act)
    row.update(state=TenantState.ACTIVE, incarnation=uuid4())
    yield Attempt("a former life", "^'401 ", act)


def carry_cookies(arena: Arena) -> Iterable[Attempt]:
    """AT-46: a session, and the two halves against forged requests, of acme's host."""

    def session_at(context: TenantContext) -> object:
        with tenant_scope(arena.acme):
            session = SessionStore()
            session["who"] = arena.own
            session.save()
        with tenant_scope(context):
            return SessionStore(session.session_key).load()

    yield Attempt("a session", r"^\{\}$", partial(session_at, arena.globex))
    yield Attempt("a form", "^403$", partial(posted, arena.acme, arena.globex))


def posted(made_at: TenantContext, sent_to: TenantContext) -> int:
    """The status of a form with the cookie and the token of one host, sent to another."""

    def page(request: HttpRequest) -> HttpResponse:
        from django.middleware.csrf import get_token

        return HttpResponse(get_token(request))

    with tenant_scope(made_at):
        first: Any = TenantCsrfMiddleware(page)(RequestFactory().get("/"))
        cookie, token = first.cookies["tenure_csrf"].value, first.content.decode()
    request = RequestFactory().post("/", {"csrfmiddlewaretoken": token})
    request.COOKIES["tenure_csrf"] = cookie
    request._dont_enforce_csrf_checks = False  # type: ignore[attr-defined]  # the test client's own
    guarded = TenantCsrfMiddleware(page)
    with tenant_scope(sent_to):
        guarded.process_request(request)
        refusal = guarded.process_view(request, page, (), {})
    return 200 if refusal is None else refusal.status_code


def cookies_count(arena: Arena) -> bool:
    with tenant_scope(arena.acme):
        session = SessionStore()
        session["who"] = arena.own
        session.save()
        known = SessionStore(session.session_key).load() == {"who": arena.own}
    return known and posted(arena.acme, arena.acme) == 200
