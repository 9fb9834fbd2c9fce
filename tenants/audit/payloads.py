"""Personal values beside the log: committed to in the entry's body, sealed in another table, keyed in another database.

# Note [A commitment nobody can test]
The body holds `HMAC(nonce, value)` and the id of a key; the nonce and the value lie sealed under it. While the key
lives, the entry proves what was said. Once it is destroyed nobody can open the value, and nobody can try a list of
names against the commitment either, since the nonce is gone with it; the chain verifies as before. The key's id is in
the hashed body, so nobody can call a payload erased that is merely missing.
"""

import hmac
import json
import secrets
from dataclasses import dataclass, field
from hashlib import sha256
from uuid import UUID, uuid5

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tenants.audit.body import canonical
from tenants.audit.errors import PayloadTampered

COMMIT, SEAL = b"tenure/audit/1/field\x00", b"tenure/audit/1/seal\x00"
NONCE_BYTES, IV_BYTES = 32, 12


@dataclass(frozen=True, slots=True)
class Payload:
    """One sealed value: a row of `audit_payload`."""

    entry: UUID
    name: str  # the column is called `field`
    key_id: UUID
    sealed: bytes = field(repr=False)


def owner_of(chain: UUID, person: str) -> UUID:
    """Whose key it is: one per chain and person, so that either can be erased alone. `person` is `kind:id`."""
    return uuid5(chain, person)


def seal(value: str, *, entry: UUID, name: str, key_id: UUID, key: bytes) -> tuple[Payload, bytes]:
    """The row to keep, and the commitment that belongs into the entry's body."""
    nonce, iv, text = secrets.token_bytes(NONCE_BYTES), secrets.token_bytes(IV_BYTES), canonical(value).encode()
    sealed = iv + AESGCM(key).encrypt(iv, nonce + text, _bound_to(entry, key_id, name))
    return Payload(entry, name, key_id, sealed), _commitment(nonce, entry, name, text)


def opened(payload: Payload, *, committed: bytes, key: bytes) -> str:
    """The value. Raises PayloadTampered where it does not open, or is not what was committed to."""
    iv, rest = payload.sealed[:IV_BYTES], payload.sealed[IV_BYTES:]
    try:
        plain = AESGCM(key).decrypt(iv, rest, _bound_to(payload.entry, payload.key_id, payload.name))
    except (InvalidTag, ValueError):
        raise PayloadTampered from None
    nonce, text = plain[:NONCE_BYTES], plain[NONCE_BYTES:]
    if not hmac.compare_digest(_commitment(nonce, payload.entry, payload.name, text), committed):
        raise PayloadTampered
    return str(json.loads(text))


def _commitment(nonce: bytes, entry: UUID, name: str, text: bytes) -> bytes:
    return hmac.digest(nonce, COMMIT + entry.bytes + name.encode() + b"\x00" + text, sha256)


def _bound_to(entry: UUID, key_id: UUID, name: str) -> bytes:
    return SEAL + entry.bytes + key_id.bytes + name.encode()
