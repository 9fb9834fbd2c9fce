"""A tenant's cache keys, of every life it had, in every logical database of the cache's server.

What is cached of one person nobody can tell for sure, and a cache may forget: of a person all of the tenant's keys go
as well. Those that are seen to hold an identifier are counted.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from time import monotonic
from typing import Any, Literal
from urllib.parse import urlsplit

from django.conf import settings
from redis import Redis

from provisioning.erasure.stores import Budget, Enumeration, Kind, Lease, Progress, Scope
from provisioning.providers.cache import SCAN_COUNT, cache_errors
from tenants.placement import cache_sentinel, tenant_key


class CacheEraser:
    """Keys go; nothing else is kept there."""

    store = "cache"
    phase = 4
    scopes: frozenset[Kind] = frozenset({"tenant", "subject"})
    reach: Literal["logical", "cryptographic", "expiry"] = "logical"

    def freeze(self, scope: Scope, lease: Lease) -> None:
        """Nothing of its own: keys carry the life of the tenant, and one that is closed writes none."""

    def enumerate(self, scope: Scope) -> Enumeration:
        """`{"pattern"}`: the keys themselves may be gone by the next moment, and others there."""
        return Enumeration(self.store, {"pattern": _pattern(scope)})

    def erase(self, scope: Scope, found: Enumeration, cursor: str | None, budget: Budget, lease: Lease) -> Progress:
        """Walks twice: SCAN promises only the keys that were there all the time. Raises CacheUnreachable."""
        deleted, walks = 0, 0
        spared = cache_sentinel(scope.tenant_id).encode() if scope.kind == "subject" else None
        with cache_errors():
            while walks < 2:  # noqa: PLR2004  as the docstring says
                for client in _databases():
                    found_keys = client.scan_iter(match=_pattern(scope), count=SCAN_COUNT)
                    for keys in _chunks(key for key in found_keys if key != spared):
                        lease()
                        about = [key for key in keys if scope.kind == "tenant" or _speaks_of(scope, client, key)]
                        gone = int(client.unlink(*keys))
                        deleted += min(gone, len(about))
                        if deleted >= budget.items or monotonic() > budget.until:
                            return Progress(deleted)
                walks += 1
        return Progress(deleted, done=True)


def _pattern(scope: Scope) -> str:
    return f"{tenant_key(scope.tenant_id)}:*"  # hexadecimal: nothing in it means anything to SCAN


def _speaks_of(scope: Scope, client: Any, key: bytes) -> bool:
    """Whether an identifier stands in the key or in what it holds, of whatever type."""
    read: dict[bytes, Callable[[], Iterable[bytes]]] = {
        b"string": lambda: [client.get(key) or b""],
        b"list": lambda: client.lrange(key, 0, -1),
        b"hash": lambda: [part for pair in client.hgetall(key).items() for part in pair],
        b"set": lambda: client.smembers(key),
        b"zset": lambda: client.zrange(key, 0, -1),
    }
    text = b"\n".join([key, *read.get(client.type(key), tuple)()]).decode(errors="replace").lower()
    return any(each.value.lower() in text for each in scope.identifiers)


def _databases() -> Iterator[Any]:
    """A client of each logical database that holds a key."""
    with Redis.from_url(settings.CACHE_URL, socket_connect_timeout=2, socket_timeout=5) as client:
        numbers = [int(name.removeprefix("db")) for name in client.info("keyspace")]
    for number in numbers:
        url = urlsplit(settings.CACHE_URL)._replace(path=f"/{number}").geturl()  # `db=` yields to what the URL says
        with Redis.from_url(url, socket_connect_timeout=2, socket_timeout=5) as client:
            yield client


def _chunks(keys: Iterator[bytes]) -> Iterator[list[bytes]]:
    while chunk := list(islice(keys, SCAN_COUNT)):
        yield chunk
