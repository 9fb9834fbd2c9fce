"""What opens a tenant's database and bucket, and who is asked for it.

This package knows no control plane: whoever can hand out credentials registers as the source when the process starts.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any, Protocol, Self
from uuid import UUID

from tenants.context import TenantContext
from tenants.errors import TenureError
from tenants.isolation.tickets import ContextKey

RENEW_BEFORE = timedelta(minutes=5)  # so a link made just now lives at least that long
MOST_KEPT = 1_000  # tenants; an entry takes about 2 kB


class NoCredentialSource(TenureError):
    """Nobody in this process can hand out a tenant's credentials."""

    code = "NO_CREDENTIAL_SOURCE"
    cure = "Set TENURE_API_URL and TENURE_API_KEY, or register a source with tenants.isolation.credentials.register()."


class CredentialsRefused(TenureError):
    """The control plane does not hand out this tenant's credentials."""

    code = "CREDENTIALS_REFUSED"
    cure = "Check that the tenant is active, and that the key holds the scope tenants:credentials and has not expired."


class CredentialsUnavailable(TenureError):
    """The control plane does not answer when asked for this tenant's credentials."""

    code = "CREDENTIALS_UNAVAILABLE"
    cure = "Try again in a moment. If it lasts, look at the control plane."


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseCredentials:
    host: str
    port: int
    name: str
    user: str
    password: str = field(repr=False)
    schema: str
    context_key: ContextKey | None = None  # in a pool: what this tenant's tickets are signed with


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageCredentials:
    """A session that reaches one bucket, below `prefix` (which is empty or ends with a slash), until `expires_at`."""

    endpoint_url: str | None
    region: str
    bucket: str
    prefix: str = ""
    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """One answer of `POST /api/v1/tenants/{id}/credentials`."""

    database: DatabaseCredentials
    storage: StorageCredentials

    @classmethod
    def from_json(cls, answer: dict[str, Any]) -> Self:
        """Members we do not know are left out: within v1 of the API only additions are made."""
        database, storage = answer["database"], answer["storage"]
        if (key := database.get("context_key")) is not None:
            database = {**database, "context_key": ContextKey.from_json(key)}
        storage = {**storage, "expires_at": datetime.fromisoformat(storage["expires_at"])}
        return cls(
            database=DatabaseCredentials(**_known(DatabaseCredentials, database)),
            storage=StorageCredentials(**_known(StorageCredentials, storage)),
        )


def _known(kind: type[DatabaseCredentials | StorageCredentials], members: dict[str, Any]) -> dict[str, Any]:
    return {each.name: members[each.name] for each in fields(kind) if each.name in members}


class CredentialSource(Protocol):
    def credentials(self, context: TenantContext) -> Credentials:
        """Fresh ones. Raises CredentialsRefused or CredentialsUnavailable."""


@dataclass(frozen=True, slots=True)
class Given:
    """The source of a process that was given one tenant's credentials and has nobody to ask for more: a shell."""

    context: TenantContext
    given: Credentials

    def credentials(self, context: TenantContext) -> Credentials:
        if context.incarnation != self.context.incarnation:
            raise CredentialsRefused(f"This process was opened for {self.context.slug} alone.", cure="Open another.")
        if self.given.storage.expires_at <= datetime.now(UTC):
            raise CredentialsRefused(f"The credentials for {context.slug} have ended.", cure="Open a new shell.")
        return self.given


class _Kept:
    """The source of this process and what it answered lately, by life of a tenant."""

    def __init__(self) -> None:
        self.source: CredentialSource | None = None
        self.answers: OrderedDict[UUID, Credentials] = OrderedDict()
        self.lock = Lock()


_kept = _Kept()


def source() -> CredentialSource | None:
    """Who is asked in this process; None: nobody registered."""
    return _kept.source


def register(source: CredentialSource | None) -> None:
    """Make `source` the one of this process. What the former one answered is forgotten."""
    with _kept.lock:
        _kept.source = source
        _kept.answers.clear()


def of(context: TenantContext) -> Credentials:
    """Credentials of this life of the tenant, good for some minutes more. NoCredentialSource, or as the source says."""
    with _kept.lock:
        known = _kept.answers.get(context.incarnation)
    if known is not None and datetime.now(UTC) < known.storage.expires_at - RENEW_BEFORE:
        return known
    return renewed(context)


def renewed(context: TenantContext) -> Credentials:
    """Asked for anew, whatever is known: after a rotation the known password is refused."""
    if (source := _kept.source) is None:
        raise NoCredentialSource
    fresh = source.credentials(context)
    with _kept.lock:
        _kept.answers[context.incarnation] = fresh
        _kept.answers.move_to_end(context.incarnation)
        while len(_kept.answers) > MOST_KEPT:
            _kept.answers.popitem(last=False)
    return fresh
