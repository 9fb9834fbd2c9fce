"""Tokens as an attacker would make them: with real keys, and with every part chosen freely."""

import base64
import hmac
import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from tenants.context import TenantContext

ANOTHER_KEY = ec.generate_private_key(ec.SECP256R1())


def claims_for(context: TenantContext, **changed: Any) -> dict[str, Any]:
    """What the control plane would sign; `None` takes a claim out."""
    now = datetime.now(tz=UTC)
    claims = {
        "iss": "tenure",
        "aud": "tenant-application",
        "sub": "member-4711",
        "iat": now,
        "nbf": now,
        "exp": now + timedelta(minutes=5),
        "jti": str(uuid4()),
        "tenant": str(context.tenant_id),
        "incarnation": str(context.incarnation),
        "scope": "projects:read",
        **changed,
    }
    return {name: value for name, value in claims.items() if value is not None}


def signed(claims: dict[str, Any], key: Any, *, kid: Any, **header: Any) -> str:
    return jwt.encode(claims, key, algorithm="ES256", headers={"kid": kid, **header})


def assembled(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    """Past the library, which refuses to make some of these."""
    return ".".join(_part(part) for part in (_json(header), _json(claims), signature))


def with_public_key_as_secret(claims: dict[str, Any], *, kid: str, secret: bytes) -> str:
    """RFC 8725 §2.1: HS256, its secret the key that everybody may read."""
    header = {"alg": "HS256", "typ": "JWT", "kid": kid}
    text = f"{_part(_json(header))}.{_part(_json(claims))}"
    return f"{text}.{_part(hmac.digest(secret, text.encode(), sha256))}"


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, default=lambda moment: int(moment.timestamp())).encode()


def _part(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
