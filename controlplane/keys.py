"""Making, checking and revoking keys of the API. The command, the admin and the API all come here."""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from controlplane.models import BOTH_SIDES, ApiKey, Scope
from tenants import audit
from tenants.audit import Actor, AuditAction, ObjectType
from tenants.errors import TenureError

DAYS, MOST_DAYS = 90, 365
SECRET_BYTES = 32
TOKEN = re.compile(r"tnr_([0-9a-f]{32})_([0-9a-f]{64})")
WIDEST = tuple(scope for scope in Scope if scope != Scope.ERASURE_APPROVE)  # all that one key may hold
USED_EVERY = timedelta(minutes=1)  # last_used_at is for people: a write for every request would cost more than it tells


class UnknownScope(TenureError):
    """A key was asked for with a scope that does not exist, or with none."""

    code = "UNKNOWN_SCOPE"
    cure = f"Choose from: {', '.join(Scope)}."


class BothSides(TenureError):
    """One key was to request erasures and to approve them."""

    code = "BOTH_SIDES"
    cure = f"Make two keys, each with one of {' and '.join(BOTH_SIDES)}, for two people."


class BadLifetime(TenureError):
    """A key must expire within a year."""

    code = "BAD_LIFETIME"
    cure = f"Ask for 1 to {MOST_DAYS} days, and make a new key before that."


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key and its token, which is nowhere else and is shown once."""

    key: ApiKey
    token: str = field(repr=False)


def make_key(
    *,
    principal: str,
    name: str,
    scopes: Collection[str],
    actor: Actor,
    days: int = DAYS,
    reads_per_minute: int = 600,
    writes_per_minute: int = 60,
    erasures_per_hour: int = 10,
) -> NewKey:
    """A new key that expires in `days` (1 to 365). Raises UnknownScope, BothSides or BadLifetime."""
    if unknown := sorted(set(scopes) - set(Scope)):
        raise UnknownScope(f"There is no scope {', '.join(unknown)}.")
    if not scopes:
        raise UnknownScope("A key without a scope could do nothing.")
    if set(BOTH_SIDES) <= set(scopes):
        raise BothSides("One key does not request erasures and approve them as well.")
    if not 1 <= days <= MOST_DAYS:
        raise BadLifetime(f"{days} days is not a lifetime for a key.")
    secret = secrets.token_hex(SECRET_BYTES)
    with transaction.atomic():
        key = ApiKey.objects.create(
            principal=principal,
            name=name,
            scopes=[scope for scope in Scope if scope in scopes],
            secret_hash=_hash(secret),
            reads_per_minute=reads_per_minute,
            writes_per_minute=writes_per_minute,
            erasures_per_hour=erasures_per_hour,
            expires_at=timezone.now() + timedelta(days=days),
        )
        key.refresh_from_db()
        audit.write(AuditAction.API_KEY_CREATED, actor=actor, object=(ObjectType.API_KEY, key.id))
    return NewKey(key=key, token=f"tnr_{key.id.hex}_{secret}")


def revoke_key(*, key: ApiKey, actor: Actor) -> None:
    """From the next request on nobody gets in with it. Revoking twice keeps the first date."""
    with transaction.atomic():
        if ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=timezone.now()):
            audit.write(AuditAction.API_KEY_REVOKED, actor=actor, object=(ObjectType.API_KEY, key.id))
    key.refresh_from_db()


def key_of(token: str) -> ApiKey | None:
    """The live key of a token, or None: malformed, unknown, expired, revoked and wrong all look alike.

    Reads PostgreSQL, never a cache: a key that was revoked must not live on somewhere.
    """
    if not (parts := TOKEN.fullmatch(token)):
        return None
    now = timezone.now()
    key = ApiKey.objects.filter(pk=UUID(parts[1]), revoked_at=None, expires_at__gt=now).first()
    # Compared even when there is no such key, so that the time it takes does not tell which.
    known = secrets.compare_digest(_hash(parts[2]), bytes(key.secret_hash) if key else bytes(32))
    if key is None or not known:
        return None
    if key.last_used_at is None or key.last_used_at < now - USED_EVERY:
        stale = Q(last_used_at=None) | Q(last_used_at__lt=now - USED_EVERY)
        ApiKey.objects.filter(stale, pk=key.pk).update(last_used_at=now)
    return key


def actor_of(key: ApiKey) -> Actor:
    """How audit entries and operations name a caller of the API."""
    return Actor(kind="api_key", id=str(key.id), name=key.name, principal=key.principal)


def _hash(secret: str) -> bytes:
    return sha256(secret.encode()).digest()
