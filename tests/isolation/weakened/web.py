"""What a verifier of tokens, the host middleware and cookies look at, taken away."""

import base64
import json
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import jwt

from tenants.isolation import csrf, tokens
from tenants.isolation.keyset import KeySet
from tenants.isolation.middleware import TenantHostMiddleware
from tenants.isolation.tokens import Claims
from tenants.models import Tenant
from tests.isolation.arena import Arena
from tests.isolation.attack import Shows
from tests.isolation.weakened.weakening import Weakening, patched
from tests.tenants.isolation import forge


@contextmanager
def any_algorithm(_arena: Arena) -> Iterator[None]:
    """`none` among the algorithms, and a signature is not looked at."""

    def decoded(token: str, *_key: object, **_options: object) -> Any:
        part = token.split(".")[1]
        payload = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        if "tenant" not in payload:
            raise jwt.MissingRequiredClaimError("tenant")
        return payload

    with ExitStack() as patches:
        patches.enter_context(patched(tokens, "_algorithms", lambda: ["none", "None", "HS256", "ES256"]))
        patches.enter_context(patched(jwt, "decode", decoded))
        yield


@contextmanager
def keys_from_anywhere(_arena: Arena) -> Iterator[None]:
    """Whatever key a token names is found."""
    with ExitStack() as patches:
        patches.enter_context(patched(tokens, "KID", re.compile(".*")))
        patches.enter_context(patched(KeySet, "key", lambda _self, _kid: forge.ANOTHER_KEY.public_key()))
        yield


def any_tenants(_arena: Arena) -> AbstractContextManager[None]:
    """The claim is verified, and not compared with the host."""

    def claims_at(token: str, **_host: object) -> Claims:
        return tokens.verified(token)

    return patched(tokens, "claims_at", claims_at)


@contextmanager
def any_life(_arena: Arena) -> Iterator[None]:
    """Neither the state nor the life of a tenant is looked at."""

    def enter(_self: object, request: Any, tenant: Tenant) -> None:
        token = tokens.bearer(request)
        assert token is not None
        request.tenant, request.tenant_context = tenant, tenant.context()
        request.tenant_claims = tokens.verified(token)

    with patched(TenantHostMiddleware, "_enter", enter):
        yield


def any_cookie(_arena: Arena) -> AbstractContextManager[None]:
    return patched(csrf, "_is_ours", lambda _secret: True)


WEAKENINGS = (
    Weakening("a verifier that takes no signature", any_algorithm, {"AT-40": Shows.CANARY}),
    Weakening("keys from where a token says", keys_from_anywhere, {"AT-41": Shows.CANARY}),
    Weakening("a claim that is not compared", any_tenants, {"AT-42": Shows.CANARY}),
    Weakening("a life that is not compared", any_life, {"AT-43": Shows.ANSWER}),
    Weakening("Django's own pair of cookies", any_cookie, {"AT-46": Shows.ANSWER}),
)
