"""A tenant's data keys in this process: who is asked for them, and for how long they are known.

# Note [Five minutes]
A key that was destroyed or disabled in the keyring is known here until its entry is KEPT_S old. Whoever destroys a key
therefore waits, and no broadcast that may be lost is needed. A key that rotation has replaced is written with for as
long; that is why a retired key is destroyed only some time after its retirement (see provisioning's data_keys).
"""

from __future__ import annotations

import base64
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from threading import Lock
from typing import Any, Protocol, Self
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tenants.context import TenantContext
from tenants.errors import TenureError

KEPT_S = 300
MOST_KEPT = 2_000  # tenants
ASK_AGAIN_S = 10  # for a key id that is not known: a forged one must not become a request for each read


class NoKeySource(TenureError):
    """Nobody in this process can hand out a tenant's data keys."""

    code = "NO_KEY_SOURCE"
    cure = "Set TENURE_API_URL and TENURE_API_KEY, or register a source with tenants.isolation.keys.register()."


class KeysRefused(TenureError):
    """The control plane does not hand out this tenant's data keys."""

    code = "DATA_KEYS_REFUSED"
    cure = "Check that the tenant is active, and that the key holds the scope tenants:keys and has not expired."


class KeysUnavailable(TenureError):
    """The control plane does not answer when asked for this tenant's data keys."""

    code = "DATA_KEYS_UNAVAILABLE"
    cure = "Try again in a moment. If it lasts, look at the control plane."


class KeyDestroyed(TenureError):
    """The data key was destroyed: what it encrypted cannot be read any more, by anybody."""

    code = "KEY_DESTROYED"
    cure = "Nothing brings it back; that is its purpose. Delete the value, or write a new one if the tenant has a key."


class KeyDisabled(TenureError):
    """The data key is disabled: it is about to be destroyed, and opens nothing meanwhile."""

    code = "KEY_DISABLED"
    cure = "Ask whoever erases this tenant's data; if that was a mistake, an operator enables the key again."


class UnknownKey(TenureError):
    """The value names a data key that this tenant never had: it was written by, or moved here from, somebody else."""

    code = "UNKNOWN_DATA_KEY"
    cure = "Restore the row from a backup; then find out who wrote to the table."


class KeyState(StrEnum):
    """`active` encrypts and opens, `retired` opens, the others do neither."""

    ACTIVE = "active"
    RETIRED = "retired"
    DISABLED = "disabled"
    DESTROYED = "destroyed"


@dataclass(frozen=True)
class DataKey:
    """One key of 32 bytes, or what became of it: `key` is None unless the state lets it open something."""

    id: UUID
    state: KeyState
    key: bytes | None = field(repr=False)

    @cached_property
    def cipher(self) -> AESGCM:
        """Raises KeyDestroyed or KeyDisabled."""
        return AESGCM(self.opened())

    def opened(self) -> bytes:
        if self.key is None:
            raise KeyDisabled if self.state is KeyState.DISABLED else KeyDestroyed
        return self.key


@dataclass(frozen=True, slots=True)
class TenantKeys:
    """One answer of `POST /api/v1/tenants/{id}/data-keys`: every key the tenant has or had, and the one for indexes."""

    keys: Mapping[UUID, DataKey]
    active: DataKey
    index: DataKey

    @classmethod
    def from_json(cls, answer: dict[str, Any]) -> Self:
        keys = [_data_key(one) for one in answer["keys"]]
        return cls.of(keys, _data_key(answer["index_key"]))

    @classmethod
    def of(cls, keys: list[DataKey], index: DataKey) -> Self:
        """Raises KeyDisabled or KeyDestroyed where none is active."""
        return cls({key.id: key for key in keys}, active_of(keys), index)


def active_of(keys: list[DataKey]) -> DataKey:
    """Raises KeyDisabled or KeyDestroyed where none is active."""
    for key in keys:
        if key.state is KeyState.ACTIVE:
            return key
    raise KeyDisabled if any(key.state is KeyState.DISABLED for key in keys) else KeyDestroyed


def _data_key(one: dict[str, Any]) -> DataKey:
    secret = one["key"]
    return DataKey(
        UUID(one["id"]), KeyState(one["state"]), base64.urlsafe_b64decode(secret) if secret is not None else None
    )


class KeySource(Protocol):
    def data_keys(self, context: TenantContext) -> TenantKeys:
        """As they are now. Raises KeyDestroyed, KeyDisabled, KeysRefused or KeysUnavailable."""


@dataclass(frozen=True, slots=True)
class Given:
    """The source of a process that was given one tenant's keys, or None, and has nobody to ask: a shell."""

    context: TenantContext
    given: TenantKeys | None

    def data_keys(self, context: TenantContext) -> TenantKeys:
        if self.given is None or context.incarnation != self.context.incarnation:
            raise KeysRefused(
                f"This process was not given the data keys of {context.slug}.", cure="Open a shell with --data-keys."
            )
        return self.given


@dataclass(frozen=True, slots=True)
class _Answer:
    keys: TenantKeys
    asked_at: float  # as time.monotonic() counts


class _Kept:
    """The source of this process and what it answered lately, by life of a tenant."""

    def __init__(self) -> None:
        self.source: KeySource | None = None
        self.answers: OrderedDict[UUID, _Answer] = OrderedDict()
        self.asked_again: OrderedDict[UUID, float] = OrderedDict()
        self.lock = Lock()


_kept = _Kept()


def source() -> KeySource | None:
    """Who is asked in this process; None: nobody registered."""
    return _kept.source


def register(source: KeySource | None) -> None:
    """Make `source` the one of this process. What the former one answered is forgotten."""
    with _kept.lock:
        _kept.source = source
    forget()


def forget() -> None:
    """Ask anew for every tenant: after a rotation in this very process, and in tests."""
    with _kept.lock:
        _kept.answers.clear()
        _kept.asked_again.clear()


def of(context: TenantContext) -> TenantKeys:
    """The keys of this life of the tenant, at most KEPT_S old. NoKeySource, or as the source says."""
    known = _kept.answers.get(context.incarnation)  # one look at a dict needs no lock
    if known is not None and time.monotonic() < known.asked_at + KEPT_S:
        return known.keys
    return _asked(context)


def to_read(context: TenantContext, key_id: UUID) -> DataKey:
    """The key that a value names; asked for again where it is newer than what is known. Raises UnknownKey."""
    if (key := of(context).keys.get(key_id)) is not None:
        return key
    if _may_ask_again(context) and (key := _asked(context).keys.get(key_id)) is not None:
        return key
    raise UnknownKey


def _asked(context: TenantContext) -> TenantKeys:
    if (source := _kept.source) is None:
        raise NoKeySource
    asked_at = time.monotonic()
    try:
        fresh = source.data_keys(context)
    except (KeyDestroyed, KeyDisabled, KeysRefused):
        with _kept.lock:  # what was known before a refusal is not to be used after it; silence refuses nothing
            _kept.answers.pop(context.incarnation, None)
        raise
    with _kept.lock:
        _keep(_kept.answers, context.incarnation, _Answer(fresh, asked_at))
    return fresh


def _may_ask_again(context: TenantContext) -> bool:
    now = time.monotonic()
    with _kept.lock:
        if now < _kept.asked_again.get(context.incarnation, -ASK_AGAIN_S) + ASK_AGAIN_S:
            return False
        _keep(_kept.asked_again, context.incarnation, now)
        return True


def _keep(kept: OrderedDict[UUID, Any], incarnation: UUID, entry: Any) -> None:
    kept[incarnation] = entry
    kept.move_to_end(incarnation)
    while len(kept) > MOST_KEPT:
        kept.popitem(last=False)
