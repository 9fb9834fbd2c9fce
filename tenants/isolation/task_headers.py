"""The header that says whose task a message is, signed: made where a task is sent, looked at where it runs.

# Note [What the signature covers]
`1.<tenant>.<incarnation>.<MAC>`, or `1.platform.platform.<MAC>`: HMAC-SHA256 under TENURE_HEADER_SECRET over those
parts, the task's name, its id, the id of its group, and a digest of what the body holds: arguments, callbacks, error
callbacks, and what follows in a chain or chord. Somebody who can write to the broker can so neither make a task, nor
give a message another tenant, task, arguments or follow-up. What remains to them is to drop a message, to delay it, and
to send one again as it is: brokers do that by themselves, and so a task has to bear being run twice anyway.
"""

import base64
import hmac
import json
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from uuid import UUID

from tenants.context import TenantContext
from tenants.errors import TenureError
from tenants.isolation.secret_keys import SecretKeyMissing, secret_key

HEADER = "tenure"
SECRET, FORMER_SECRET = "TENURE_HEADER_SECRET", "TENURE_HEADER_SECRET_FORMER"
VERSION = "1"
PLATFORM = "platform"
PARTS = 4


class TenantRefused(TenureError):
    """The message does not prove which tenant it is for. The task was not run."""

    code = "TENANT_REFUSED"
    cure = "Send it with apply_async() of a TenantTask, inside the tenant's scope, under the same TENURE_HEADER_SECRET."


@dataclass(frozen=True, slots=True)
class Message:
    """What of a message is signed. `body` is its content in a form that is the same for sender and receiver."""

    task: str
    id: str
    group: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Origin:
    """The life of a tenant that a message is for."""

    tenant: UUID
    incarnation: UUID


def signed(message: Message, scope: TenantContext | None) -> str:
    """The header's value; scope None is the platform. Raises SecretKeyMissing or SecretKeyUnusable."""
    whose = (PLATFORM, PLATFORM) if scope is None else (scope.tenant_id.hex, scope.incarnation.hex)
    return ".".join((VERSION, *whose, _mac(secret_key(SECRET), message, whose)))


def verified(message: Message, header: object) -> Origin | None:
    """Whom the header proves the message to be for; None is the platform. Raises TenantRefused for anything else.

    Messages signed under TENURE_HEADER_SECRET_FORMER are taken, too, where that is set: for as long as a rotation
    takes until the last of them has run.
    """
    if not header:
        raise TenantRefused(reason="no header")
    parts = header.split(".") if isinstance(header, str) and header.isascii() else []
    if len(parts) != PARTS or parts[0] != VERSION:
        raise TenantRefused(reason="malformed header")
    whose = (parts[1], parts[2])
    if not any(hmac.compare_digest(parts[3], _mac(key, message, whose)) for key in _keys()):
        raise TenantRefused(reason="forged header")
    return None if whose == (PLATFORM, PLATFORM) else Origin(UUID(hex=whose[0]), UUID(hex=whose[1]))


def _keys() -> list[bytes]:
    keys = [secret_key(SECRET)]
    with suppress(SecretKeyMissing):
        keys.append(secret_key(FORMER_SECRET))
    return keys


def _mac(key: bytes, message: Message, whose: tuple[str, str]) -> str:
    # JSON tells ["ab", "c"] from ["a", "bc"]; the first part keeps this apart from other uses of the key.
    digest = sha256(message.body).hexdigest()
    covered = json.dumps(["tenure/task/1", *whose, message.task, message.id, message.group, digest]).encode()
    return base64.urlsafe_b64encode(hmac.digest(key, covered, "sha256")).decode().rstrip("=")
