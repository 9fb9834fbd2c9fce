"""Messages that name the tenant: waiting, delayed or held by a worker, in a broker whose queues can be listed.

A message says whose it is in its header (tenants.isolation.task_headers): `1.<tenant>.<life>.<signature>`. The control
plane's own say nothing of a tenant. Results name no tenant either: those go whose message is found, the others expire.
A broker that cannot be listed is left to its own dates; the fence refuses what it still brings.
"""

import base64
import binascii
import json
from collections.abc import Iterator
from time import monotonic
from typing import Any, Literal
from urllib.parse import urlsplit

from django.conf import settings
from redis import Redis

from provisioning.erasure.stores import Budget, Enumeration, Kind, Lease, Progress, Scope
from provisioning.providers.cache import SCAN_COUNT, cache_errors
from tenants.isolation.task_headers import HEADER

CHUNK = 500  # messages read at once
RESULT = "celery-task-meta-"
INDEX = "_index"  # kombu: what is held by workers is the hash `unacked`, and by time the sorted set `unacked_index`


class QueuesEraser:
    """Messages go, and the results of those that went."""

    store = "queues"
    phase = 4
    scopes: frozenset[Kind] = frozenset({"tenant", "subject"})
    reach: Literal["logical", "cryptographic", "expiry"] = "expiry"

    def freeze(self, scope: Scope, lease: Lease) -> None:
        """Nothing of its own: a worker asks whether the tenant is admitted before it runs a task."""

    def enumerate(self, scope: Scope) -> Enumeration:
        """Empty: what waits now may have run by the next moment."""
        return Enumeration(self.store, {})

    def erase(self, scope: Scope, found: Enumeration, cursor: str | None, budget: Budget, lease: Lease) -> Progress:
        """Walks until a walk finds none: workers take from the lists meanwhile. Raises CacheUnreachable."""
        if not settings.BROKER_URL.startswith("redis"):
            return Progress(done=True)
        deleted, found_some = 0, True
        with cache_errors():
            while found_some:
                found_some = False
                for remove in self._removals(scope):
                    if deleted >= budget.items or monotonic() > budget.until:
                        return Progress(deleted)
                    lease()
                    if gone := remove():
                        deleted, found_some = deleted + gone, True
        return Progress(deleted, done=True)

    def _removals(self, scope: Scope) -> Iterator[Any]:
        for client in _databases():
            for key in client.scan_iter(_type="list", count=SCAN_COUNT):
                for raw in _listed(client, key):
                    if (message := _of(scope, raw)) is not None:
                        yield lambda c=client, k=key, r=raw, m=message: _from_list(c, k, r, m)
            for key in client.scan_iter(_type="hash", count=SCAN_COUNT):
                for tag, raw in client.hscan_iter(key, count=CHUNK):
                    if (message := _of(scope, raw)) is not None:
                        yield lambda c=client, k=key, t=tag, m=message: _from_hash(c, k, t, m)


def _from_list(client: Any, key: bytes, raw: bytes, message: dict[str, Any]) -> int:
    _forget_result(client, message)
    return int(client.lrem(key, 0, raw))


def _from_hash(client: Any, key: bytes, tag: bytes, message: dict[str, Any]) -> int:
    _forget_result(client, message)
    client.zrem(key + INDEX.encode(), tag)
    return int(client.hdel(key, tag))


def _forget_result(client: Any, message: dict[str, Any]) -> None:
    client.unlink(f"{RESULT}{message['headers'].get('id')}")


def _listed(client: Any, key: bytes) -> Iterator[bytes]:
    """From the end on: what is taken or removed there does not move what comes next."""
    stop = int(client.llen(key))
    while stop > 0:
        start = max(0, stop - CHUNK)
        yield from reversed(client.lrange(key, start, stop - 1))
        stop = start


def _of(scope: Scope, raw: bytes) -> dict[str, Any] | None:
    """The message, if it is one and in the scope. A held one is `[message, exchange, routing key]`."""
    try:
        value = json.loads(raw)
        message = value[0] if isinstance(value, list) and value else value
        _version, tenant, *_rest = message["headers"][HEADER].split(".")
    except (ValueError, KeyError, TypeError, AttributeError):
        return None  # whatever it is, it is no message of a tenant's task
    if tenant != scope.tenant_id.hex or (scope.kind == "subject" and not _names(scope, message)):
        return None
    return dict(message)


def _names(scope: Scope, message: dict[str, Any]) -> bool:
    try:
        body = base64.b64decode(message.get("body") or "").decode(errors="replace").lower()
    except binascii.Error:
        body = str(message["body"]).lower()
    return any(identifier.value.lower() in body for identifier in scope.identifiers)


def _databases() -> Iterator[Any]:
    with Redis.from_url(settings.BROKER_URL, socket_connect_timeout=2, socket_timeout=5) as client:
        numbers = [int(name.removeprefix("db")) for name in client.info("keyspace")]
    for number in numbers:
        url = urlsplit(settings.BROKER_URL)._replace(path=f"/{number}").geturl()  # `db=` yields to what the URL says
        with Redis.from_url(url, socket_connect_timeout=2, socket_timeout=5) as client:
            yield client
