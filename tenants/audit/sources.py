"""Who holds the keys of the audit log in this process. The log stands below the keyring, so they are registered."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tenants.audit.errors import PayloadKeysAway


class Keys(Protocol):
    """The keys that seal personal values, one per chain and person, and the public ones that checkpoints verify with.

    Every method raises PayloadKeysAway where the keyring does not answer.
    """

    def active(self, owner: UUID) -> tuple[UUID, bytes]:
        """The id and the 32 bytes of the owner's key, made now if there is none."""

    def are_active(self, keys: Collection[UUID]) -> bool:
        """Whether all of them may still seal, asked of the keyring now."""

    def opened(self, keys: Collection[UUID]) -> Mapping[UUID, bytes]:
        """Those that can be opened: active or disabled. A destroyed or unknown one is not among them."""

    def disable(self, keys: Collection[UUID]) -> None:
        """From then on they seal nothing; they still open what they sealed."""

    def destroy(self, keys: Collection[UUID]) -> None:
        """They open nothing any more, for anybody. Repeating it changes nothing."""

    def signers(self) -> Mapping[str, Ed25519PublicKey]:
        """By key id, every key that has ever signed checkpoints."""


class _Registered:
    def __init__(self) -> None:
        self.keys: Keys | None = None


_registered = _Registered()


def register(keys: Keys | None) -> None:
    """Make `keys` the ones of this process."""
    _registered.keys = keys


def keys() -> Keys:
    """Raises PayloadKeysAway where none are registered."""
    if _registered.keys is None:
        raise PayloadKeysAway
    return _registered.keys
