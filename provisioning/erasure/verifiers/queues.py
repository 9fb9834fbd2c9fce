"""What is left of a tenant in the broker: any value of any key that names it, in its header, body or result."""

import base64
import json
import re
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone

from provisioning.erasure.controls import CONTROL_ID, QUEUE, UNACKED
from provisioning.erasure.stores import Control, Coverage, Kind, Residue, Scope, Tally
from provisioning.erasure.verifiers.key_spaces import holds_needle, names_tenant, scanned, server, values_of
from tenants.findings import Finding

LONGEST = timedelta(hours=24)  # Celery's result_expires, which is also longer than a task may run here
QUEUE_TYPES = (b"list", b"hash", b"zset", b"stream")
HEADER = re.compile(rb"1\.([0-9a-f]{32})\.[0-9a-f]{32}\.")
RESULTS = "celery-task-meta-*"


class QueuesVerifier:
    """Reads every message, base64 and all, where the broker can be listed; what cannot be is left to its date."""

    store = "queues"
    scopes: frozenset[Kind] = frozenset({"tenant", "subject"})

    def coverage(self, scope: Scope) -> Coverage:
        return Coverage(("queues:broker",))

    def blockers(self, scope: Scope) -> Iterable[Finding]:
        return ()

    def count(self, scope: Scope) -> tuple[Tally, ...]:
        until = timezone.now() + LONGEST
        expiring = Tally("queues:results without a tenant's name", None, "unknown", "expire", until=until)
        if not _can_be_listed():
            return Tally("queues:broker", None, "unknown", "expire", until=until), expiring
        with server(settings.BROKER_URL) as databases:
            left = sum(_is_left(text, scope) for client in databases for _key, text in _messages(client))
        return Tally("queues:broker", left), expiring

    def control(self, scope: Scope) -> Control:
        """The same reading finds a waiting message and a held one of Tenure's own."""
        if not _can_be_listed():
            return Control(ok=True, method="this broker cannot be listed: nothing in it is counted, all of it expires")
        with server(settings.BROKER_URL) as databases:
            seen = {key for client in databases for key, text in _messages(client) if names_tenant(text, CONTROL_ID)}
        wanted = {QUEUE.encode(), UNACKED.encode()}
        return Control(wanted <= seen, f"control messages seen in {len(wanted & seen)} of {len(wanted)} queues")

    def residue(self, scope: Scope) -> tuple[Residue, ...]:
        until = timezone.now() + LONGEST
        return (
            Residue("results of tasks", "they name no tenant and expire by themselves", until),
            Residue("messages in a broker of the application's own", "refused when they arrive, by the fence", until),
        )


def _can_be_listed() -> bool:
    return settings.BROKER_URL.startswith("redis")


def _is_left(text: bytes, scope: Scope) -> bool:
    """Another tenant's message may speak of somebody of the same name or address, and is that tenant's."""
    owners = set(HEADER.findall(text))
    if owners and scope.tenant_id.hex.encode() not in owners:
        return scope.kind == "tenant" and names_tenant(text, scope.tenant_id)
    return holds_needle(text, scope) or (scope.kind == "tenant" and names_tenant(text, scope.tenant_id))


def _messages(client: Any) -> Iterator[tuple[bytes, bytes]]:
    """Key, and one value of it in plain text."""
    for key in scanned(client):
        if client.type(key) in QUEUE_TYPES:
            yield from ((key, _plain(raw)) for raw in values_of(client, key))
    for key in scanned(client, RESULTS):
        yield from ((key, _plain(raw)) for raw in values_of(client, key))


def _plain(raw: bytes) -> bytes:
    """The text with each body that lies in it opened: kombu writes them in base64."""
    return raw + b"\n" + b"\n".join(_bodies(raw))


def _bodies(raw: bytes) -> Iterator[bytes]:
    start = min((at for at in (raw.find(b"{"), raw.find(b"[")) if at >= 0), default=0)
    try:
        value = json.loads(raw[start:])
    except ValueError:
        return
    for message in value if isinstance(value, list) else [value]:
        if isinstance(message, dict) and isinstance(body := message.get("body"), str):
            try:
                yield base64.b64decode(body, validate=True)
            except ValueError:
                yield body.encode()
