"""What a request must know and nobody else may read: sealed under a key of the request's own, which dies with it.

The key lies in the keyring database, so that no backup of the control database brings it back.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from provisioning.erasure.stores import Identifier
from provisioning.providers import keys
from tenants.isolation.crypto import NONCE_BYTES, Tampered

PURPOSE = "erasure"
IDENTIFIERS = "identifiers"


def seal(request_id: UUID, what: str, value: Any) -> bytes:
    """12 bytes of nonce and AES-256-GCM over the JSON of `value`; it opens for the same request and `what` alone.

    Raises keys.KeyDestroyed once the request has ended, keys.KeyringUnreachable.
    """
    nonce = secrets.token_bytes(NONCE_BYTES)
    text = json.dumps(value, separators=(",", ":"), sort_keys=True).encode()
    return nonce + _cipher(request_id).encrypt(nonce, text, _bound_to(request_id, what))


def unseal(request_id: UUID, what: str, sealed: bytes | memoryview) -> Any:
    """The value again. Raises Tampered, keys.KeyDestroyed, keys.KeyringUnreachable."""
    whole = bytes(sealed)
    nonce, text = whole[:NONCE_BYTES], whole[NONCE_BYTES:]
    try:
        return json.loads(_cipher(request_id).decrypt(nonce, text, _bound_to(request_id, what)))
    except InvalidTag as error:
        raise Tampered(f"What request {request_id} keeps of {what} does not open.") from error


def destroy(request_id: UUID) -> int:
    """Nobody reads what was sealed for this request any more. How many keys went: 0 when there was none."""
    return keys.destroy_key_of(request_id, PURPOSE)


def sealed_identifiers(request_id: UUID, identifiers: Iterable[Identifier]) -> bytes:
    return seal(request_id, IDENTIFIERS, [[each.kind, each.value] for each in identifiers])


def opened_identifiers(request_id: UUID, sealed: bytes | memoryview | None) -> tuple[Identifier, ...]:
    if sealed is None:
        return ()
    return tuple(Identifier(kind, value) for kind, value in unseal(request_id, IDENTIFIERS, sealed))


def sealed_items(request_id: UUID, store: str, items: Mapping[str, Any]) -> bytes:
    """An eraser's enumeration."""
    return seal(request_id, f"found.{store}", dict(items))


def opened_items(request_id: UUID, store: str, sealed: bytes | memoryview | None) -> dict[str, Any]:
    opened: dict[str, Any] = {} if sealed is None else unseal(request_id, f"found.{store}", sealed)
    return opened


def _cipher(request_id: UUID) -> AESGCM:
    return AESGCM(keys.key_of(request_id, PURPOSE)[1])


def _bound_to(request_id: UUID, what: str) -> bytes:
    return b"tenure/erasure/1\x00" + request_id.bytes + what.encode()
