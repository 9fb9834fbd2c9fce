"""Who a bearer of a tenant's token is. The tenant comes from the verified claim alone, and must be the host's.

Verifying is on when the project sets TENURE_TOKEN_ISSUER and TENURE_TOKEN_AUDIENCE; then every `Authorization: Bearer`
at a tenant's host must be such a token. Without them the header is the application's own affair.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NoReturn
from uuid import UUID

import jwt
from django.conf import settings
from django.http import HttpRequest

from tenants.errors import TenureError
from tenants.isolation.keyset import ASYMMETRIC, KeySet
from tenants.isolation.refusals import Layer, refused

LEEWAY = timedelta(seconds=30)  # for clocks that disagree
MOST_LIFE = timedelta(minutes=15)  # a token that claims a longer one is none of ours, whoever signed it
LONGEST = 4_096  # characters; ours have about 700
KID = re.compile(r"[0-9a-f]{32}")
REQUIRED = ["iss", "aud", "sub", "exp", "iat", "nbf", "jti", "tenant", "incarnation", "scope"]
PATH = "/.well-known/jwks.json"


class TokenRefused(TenureError):
    """The token is not valid here."""

    code = "TOKEN_REFUSED"
    cure = "Ask for a new token."


class TokenOfAnotherTenant(TenureError):
    """The token is another tenant's. It opens nothing at this address."""

    code = "TOKEN_OF_ANOTHER_TENANT"
    cure = "Use it at its own tenant's address, or ask for a token for this one."


class TokensNotSetUp(TenureError):
    """The project does not say whose tokens it takes."""

    code = "TOKENS_NOT_SET_UP"
    cure = "Set TENURE_TOKEN_ISSUER, TENURE_TOKEN_AUDIENCE and TENURE_API_URL (or TENURE_JWKS_URL)."


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says. `subject` is the application's own name for its bearer."""

    subject: str
    tenant_id: UUID
    incarnation: UUID
    scopes: frozenset[str]
    jti: str
    expires_at: datetime


def are_taken() -> bool:
    """Whether this project takes tenants' tokens."""
    return bool(
        getattr(settings, "TENURE_TOKEN_ISSUER", "")
        and getattr(settings, "TENURE_TOKEN_AUDIENCE", "")
        and key_set_url()
    )


def bearer(request: HttpRequest) -> str | None:
    """The token of `Authorization: Bearer …` (RFC 6750 §2.1), or None. No other place of a request is looked at."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def claims_at(token: str, *, tenant_id: UUID, incarnation: UUID) -> Claims:
    """The claims of a token that is valid at this tenant, in this life of it.

    Raises TokenRefused, TokenOfAnotherTenant, KeySetUnavailable or TokensNotSetUp.
    """
    claims = verified(token)
    if claims.tenant_id != tenant_id:
        refused(Layer.TOKEN, "token of another tenant")
        raise TokenOfAnotherTenant
    if claims.incarnation != incarnation:
        _refuse("token of a former life")
    return claims


def verified(token: str) -> Claims:
    """The claims of a token with a good signature, our issuer and audience, and a life that is not over."""
    if not are_taken():
        raise TokensNotSetUp
    algorithms = _algorithms()
    if len(token) > LONGEST:
        _refuse("too long")
    try:
        header = jwt.get_unverified_header(token)
        # Nothing else of the header is looked at: `jku`, `x5u` and `jwk` would let a token bring its own key along.
        kid = header.get("kid")
        if not isinstance(kid, str) or not KID.fullmatch(kid) or header.get("alg") not in algorithms:
            _refuse("header is not ours")
        if (key := _key_set(key_set_url()).key(kid)) is None:
            _refuse("unknown key")
        payload = jwt.decode(
            token,
            key,
            algorithms=algorithms,
            issuer=settings.TENURE_TOKEN_ISSUER,
            audience=settings.TENURE_TOKEN_AUDIENCE,
            leeway=LEEWAY,
            options={"require": REQUIRED, "strict_aud": True},
        )
        return _claims(payload)
    except jwt.ExpiredSignatureError:
        _refuse("expired", "The token has expired.")
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        _refuse("not valid")


def _claims(payload: dict[str, Any]) -> Claims:
    issued, expires = payload["iat"], payload["exp"]
    if expires - issued > MOST_LIFE.total_seconds():
        _refuse("claims too long a life")
    return Claims(
        subject=payload["sub"],
        tenant_id=UUID(payload["tenant"]),
        incarnation=UUID(payload["incarnation"]),
        scopes=frozenset(payload["scope"].split()),
        jti=payload["jti"],
        expires_at=datetime.fromtimestamp(expires, tz=UTC),
    )


def _algorithms() -> Sequence[str]:
    named = getattr(settings, "TENURE_TOKEN_ALGORITHMS", ("ES256",))
    if not (algorithms := [one for one in named if one in ASYMMETRIC]):
        raise TokensNotSetUp("TENURE_TOKEN_ALGORITHMS names no asymmetric algorithm.")
    return algorithms


def key_set_url() -> str:
    """Where the keys are that tokens are verified with; empty where the project does not say."""
    api = getattr(settings, "TENURE_API_URL", "")
    return getattr(settings, "TENURE_JWKS_URL", "") or (f"{api.rstrip('/')}{PATH}" if api else "")


@lru_cache(maxsize=4)
def _key_set(url: str) -> KeySet:
    return KeySet(url)


def _refuse(reason: str, says: str = "") -> NoReturn:
    refused(Layer.TOKEN, reason)
    raise TokenRefused(says)
