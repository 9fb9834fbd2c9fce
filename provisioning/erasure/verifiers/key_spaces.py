"""How the verifiers look into a Redis or Valkey server: all of its logical databases, by raw SCAN, read-only."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from redis import Redis

from provisioning.erasure.stores import Scope
from provisioning.providers.cache import CacheUnreachable, cache_errors

MOST_SCANNED = 500  # keys looked at per round trip
SHORTEST_NEEDLE = 6  # characters: anything shorter is found everywhere


@contextmanager
def server(url: str) -> Iterator[list[Any]]:
    """A client for each logical database that holds a key. Raises CacheUnreachable, also for one node of several."""
    clients: list[Any] = []
    with cache_errors():
        try:
            with Redis.from_url(url, socket_connect_timeout=2, socket_timeout=10) as first:
                if first.info("cluster").get("cluster_enabled"):
                    raise CacheUnreachable("The server is one node of a cluster, and sees only its own keys.")
                names = list(first.info("keyspace"))
            # The number is put into the URL: what is passed beside it yields to what it says.
            urls = [urlsplit(url)._replace(path=f"/{name.removeprefix('db')}").geturl() for name in names]
            clients += [Redis.from_url(each, socket_connect_timeout=2, socket_timeout=10) for each in urls]
            yield clients
        finally:
            for client in clients:
                client.close()


def scanned(client: Any, pattern: str = "*") -> Iterator[bytes]:
    """Each key once, however often SCAN names it."""
    seen: set[bytes] = set()
    position = 0
    while True:
        position, keys = client.scan(position, match=pattern, count=MOST_SCANNED)
        for key in keys:
            if key not in seen:
                seen.add(key)
                yield key
        if not position:
            return


def values_of(client: Any, key: bytes) -> Iterator[bytes]:
    """Everything that is kept under a key, whatever its type; nothing when it is gone."""
    match client.type(key):
        case b"string":
            yield client.get(key) or b""
        case b"list":
            yield from client.lrange(key, 0, -1)
        case b"hash":
            for name, value in client.hscan_iter(key):
                yield name + b"\n" + value
        case b"set":
            yield from client.sscan_iter(key)
        case b"zset":
            yield from (member for member, _score in client.zscan_iter(key))
        case b"stream":
            yield from (b"\n".join(fields.values()) for _id, fields in client.xrange(key))


def names_tenant(text: bytes, tenant_id: UUID) -> bool:
    return tenant_id.hex.encode() in text or str(tenant_id).encode() in text


def holds_needle(text: bytes, scope: Scope) -> bool:
    lowered = text.decode(errors="replace").lower()
    needles = (each.value.lower() for each in scope.identifiers if len(each.value) >= SHORTEST_NEEDLE)
    return any(needle in lowered for needle in needles)
