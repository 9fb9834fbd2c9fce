"""Tokens that let their bearer in at one tenant's application, and the keys that sign them."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID, uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_der_private_key
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Max
from django.utils import timezone
from jwt.algorithms import ECAlgorithm

from provisioning.models import SigningKey
from provisioning.providers.keys import keyring_errors
from provisioning.workflows.accepting import allow, as_uuid
from tenants.audit import Actor, AuditAction, ObjectType
from tenants.audit import write as audit
from tenants.errors import TenureError
from tenants.isolation.crypto import seal, unseal
from tenants.models import Tenant

ALGORITHM = "ES256"  # RFC 7518 §3.4: every gateway and library verifies it
PURPOSE = "signing_key"
MOST_LIFE = timedelta(minutes=15)
LEEWAY = timedelta(seconds=60)  # the most a verifier may allow for clocks that disagree
PUBLISHED_FOR = timedelta(minutes=5)  # how long a verifier may keep the key set: its Cache-Control
AHEAD = 2 * PUBLISHED_FOR  # how long a new key is published before it signs
SUBJECT = re.compile(r"[!-~]{1,255}")
SCOPE = re.compile(r"[a-z][a-z0-9_.:-]{0,63}")
MOST_SCOPES = 32
LOCK = 0x7E2C1F61  # of pg_advisory_xact_lock: two processes make one first key


class InvalidToken(TenureError):
    """A token was asked for that may not be."""

    code = "VALIDATION_FAILED"
    cure = (
        f"A subject is 1 to 255 visible ASCII characters; at most {MOST_SCOPES} scopes like projects:read;"
        f" a life of 1 to {int(MOST_LIFE.total_seconds())} seconds."
    )


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token, which is nowhere else, and what of it may be told."""

    token: str = field(repr=False)
    jti: UUID
    expires_at: datetime


def mint_token(
    *,
    tenant: Tenant,
    subject: str,
    scopes: Collection[str],
    actor: Actor,
    life: timedelta = MOST_LIFE,
    request_id: str = "",
) -> NewToken:
    """A signed token for one person or system at one tenant's application. Raises StateConflict, InvalidToken.

    `subject` is the application's own name for them, better an id than an address. Nothing of the token is kept; who
    asked for it, for which tenant, under which id (`jti`), for how long and with how many scopes is in the audit log.
    """
    if not SUBJECT.fullmatch(subject) or len(scopes) > MOST_SCOPES or not all(map(SCOPE.fullmatch, scopes)):
        raise InvalidToken
    if not timedelta(seconds=1) <= life <= MOST_LIFE:
        raise InvalidToken(f"{life.total_seconds():g} s is not a life for a token.")
    allow("credentials", tenant)
    now, jti = timezone.now().replace(microsecond=0), uuid4()
    key = _signing_now(now)
    claims: dict[str, Any] = {
        "iss": settings.TENURE_TOKEN_ISSUER,
        "aud": settings.TENURE_TOKEN_AUDIENCE,
        "sub": subject,
        "iat": now,
        "nbf": now,
        "exp": now + life,
        "jti": str(jti),
        "tenant": str(tenant.pk),
        "incarnation": str(tenant.incarnation),
        "scope": " ".join(sorted(set(scopes))),  # RFC 9068 §2.2.3
    }
    token = jwt.encode(claims, _private(key), algorithm=ALGORITHM, headers={"kid": key.kid.hex})
    with transaction.atomic():
        audit(
            AuditAction.TOKEN_MINTED,
            actor=actor,
            object=(ObjectType.TOKEN, jti),
            tenant=tenant.pk,
            request=as_uuid(request_id),
            keys=(key.kid,),
            counts={"duration_s": int(life.total_seconds()), "scopes": len(set(scopes))},
        )
    return NewToken(token=token, jti=jti, expires_at=now + life)


def rotate_token_key(*, actor: Actor) -> SigningKey:
    """A new key, published now and signing in AHEAD; the present one signs until then.

    See Note [A signing key's times are its state]. Call it as often as the policy says. While a key waits for its turn
    that one is returned, and no other is made.
    """
    now = timezone.now()
    with transaction.atomic():
        _lock()
        if (waiting := SigningKey.objects.filter(revoked_at=None, signs_from__gt=now).first()) is not None:
            return waiting
        key = _make(signs_from=now + AHEAD if _present(now) is not None else now)
        audit(AuditAction.SIGNING_KEY_ROTATED, actor=actor, object=(ObjectType.SIGNING_KEY, key.kid), keys=(key.kid,))
    return key


def replace_token_keys(*, actor: Actor) -> SigningKey:
    """After a key was exposed: a new key signs at once and all others are revoked. Tokens signed by those are refused
    as soon as a verifier asks for the key set again, within PUBLISHED_FOR.
    """
    now = timezone.now()
    with transaction.atomic():
        _lock()
        revoked = list(SigningKey.objects.filter(revoked_at=None).values_list("kid", flat=True))
        SigningKey.objects.filter(kid__in=revoked).update(revoked_at=now)
        key = _make(signs_from=now)
        audit(
            AuditAction.SIGNING_KEY_ROTATED,
            actor=actor,
            object=(ObjectType.SIGNING_KEY, key.kid),
            keys=(key.kid, *revoked),
        )
    return key


def published_keys() -> list[dict[str, Any]]:
    """The JWK set (RFC 7517 §5): keys that wait for their turn, the one that signs, and those with living tokens."""
    now = timezone.now()
    ended = (
        SigningKey.objects.filter(revoked_at=None, signs_from__lte=now - MOST_LIFE - LEEWAY)
        .aggregate(last=Max("signs_from"))
        .get("last")
    )
    keys = SigningKey.objects.filter(revoked_at=None)
    if ended is not None:  # whatever signed before that one has no living token any more
        keys = keys.filter(signs_from__gte=ended)
    return [key.public for key in keys.order_by("signs_from")]


def _signing_now(now: datetime) -> SigningKey:
    if (key := _present(now)) is not None:
        return key
    with transaction.atomic():
        _lock()
        return _present(now) or _make(signs_from=now)


def _present(now: datetime) -> SigningKey | None:
    return SigningKey.objects.filter(revoked_at=None, signs_from__lte=now).order_by("-signs_from").first()


def _lock() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])


def _make(*, signs_from: datetime) -> SigningKey:
    kid, private = uuid4(), ec.generate_private_key(ec.SECP256R1())
    public = json.loads(ECAlgorithm.to_jwk(private.public_key()))
    der = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return SigningKey.objects.create(
        kid=kid,
        public={**public, "kid": kid.hex, "use": "sig", "alg": ALGORITHM},
        sealed=seal(der, purpose=PURPOSE, owner=str(kid)),
        signs_from=signs_from,
    )


def _private(key: SigningKey) -> ec.EllipticCurvePrivateKey:
    with keyring_errors():
        return _opened(key.kid, bytes(key.sealed))


@lru_cache(maxsize=4)
def _opened(kid: UUID, sealed: bytes) -> ec.EllipticCurvePrivateKey:
    """Kept by the process: opening one under KMS is a call over the network."""
    key = load_der_private_key(unseal(sealed, purpose=PURPOSE, owner=str(kid)), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)  # noqa: S101  what _make made; tells the type checker
    return key
