"""Values that name a person: which kinds there are, in what form they are compared, and the keyed hash of one."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from uuid import UUID

from provisioning.erasure.errors import InvalidErasure
from provisioning.erasure.stores import Identifier
from provisioning.providers import keys

EXACT = frozenset({"user_id", "external_id", "object_key", "actor"})  # looked up whole, never searched for in texts
KINDS = frozenset({"email", "phone", "name", "text"}) | EXACT
SHORTEST = 6  # characters: a shorter needle is found everywhere
MOST = 50
PEPPER_OWNER = UUID("7e2c1f60-0000-4000-8000-0000000000e5")
PEPPER = "erasure.pepper"


def checked(identifiers: Iterable[Identifier]) -> tuple[Identifier, ...]:
    """Each once, in the order given. Raises InvalidErasure, which names kinds and never a value."""
    found = tuple(dict.fromkeys(identifiers))
    if not 1 <= len(found) <= MOST:
        raise InvalidErasure(f"A person is named by 1 to {MOST} identifiers.", field="identifiers")
    for each in found:
        if each.kind not in KINDS:
            kinds = ", ".join(sorted(KINDS))
            raise InvalidErasure("An identifier's kind is unknown.", cure=f"Use one of: {kinds}.", field="identifiers")
        if not each.value.strip() or (each.kind not in EXACT and len(normal(each)) < SHORTEST):
            raise InvalidErasure(
                f"The {each.kind} is shorter than {SHORTEST} characters: it would be found in everybody's data.",
                field="identifiers",
            )
    return found


def normal(identifier: Identifier) -> str:
    """The form in which two spellings of one value are equal."""
    if identifier.kind == "phone":
        return re.sub(r"[^\d+]", "", identifier.value)
    return " ".join(identifier.value.split()).casefold()


def reference(tenant_id: UUID, identifier: Identifier) -> bytes:
    """32 bytes that are the same for the same person of a tenant, and that nobody without the pepper can test."""
    return keyed(b"subject", tenant_id.bytes, identifier.kind.encode(), normal(identifier).encode())


def keyed(*parts: bytes) -> bytes:
    """HMAC-SHA256 under a key of the keyring, each part with its length in front."""
    _id, pepper = keys.key_of(PEPPER_OWNER, PEPPER)
    return hmac.new(pepper, b"".join(len(part).to_bytes(4) + part for part in parts), hashlib.sha256).digest()
