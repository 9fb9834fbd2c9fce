"""Tickets into a pool: what an application proves to the database, per transaction, about whom it works for.

# Note [Three keys, each reaching less]
The context secret (control plane alone) makes a key for each database (kept there, as pads, readable by nobody but the
guard), and that makes a key for each life of each tenant. An application is handed the last one, with the tenant's
other credentials: it can mint that tenant's tickets and nobody else's. A ticket is good for LIFETIME_S, and for any
session, since it must work behind a pooler; what it buys, the context, is good for one transaction of one session.
"""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple, Self
from uuid import UUID

from tenants.context import TenantContext

LIFETIME_S = 30  # the guard refuses more than 60, so two clocks may be half a minute apart
USE, ERASE = "use", "erase"  # `erase`: ours alone, and only while the tenant's door is closed


class Ticket(NamedTuple):
    """The bind parameters of `tenure_guard.enter`, in its order. Never a literal: a statement's text may be seen."""

    purpose: str
    tenant: UUID
    incarnation: UUID
    expires: int
    key_version: str
    mac: bytes


@dataclass(frozen=True, slots=True)
class ContextKey:
    """The key of one life of one tenant in one database: 32 bytes, and which version of the database's key made it."""

    version: str
    key: bytes = field(repr=False)

    @classmethod
    def from_json(cls, members: dict[str, str]) -> Self:
        """From `{"version": "1", "key": "<base64url>"}`. Raises KeyError or ValueError where it is not that."""
        return cls(version=members["version"], key=base64.b64decode(members["key"], altchars="-_", validate=True))

    def as_json(self) -> dict[str, str]:
        return {"version": self.version, "key": base64.urlsafe_b64encode(self.key).decode()}


def mint(context: TenantContext, key: ContextKey, *, purpose: str = USE, lifetime_s: int = LIFETIME_S) -> Ticket:
    """A ticket for this life of the tenant: 3 µs, no input or output.

    HMAC's nesting over a key of fixed length (RFC 2104): mac = sha256(key ‖ sha256(key ‖ "T" ‖ purpose ‖ expires)).
    """
    expires = int(time.time()) + lifetime_s
    inner = sha256(key.key + b"T" + purpose.encode() + expires.to_bytes(8, signed=True)).digest()
    mac = sha256(key.key + inner).digest()
    return Ticket(purpose, context.tenant_id, context.incarnation, expires, key.version, mac)
