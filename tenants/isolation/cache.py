"""Cache keys that carry the tenant and the life it is in, and a cache whose `clear()` empties one tenant's part.

CACHES = {
    "default": {
        "BACKEND": "tenants.isolation.cache.TenantCache",
        "LOCATION": CACHE_URL,
        "KEY_FUNCTION": "tenants.isolation.cache.make_key",
    }
}

Sessions kept in this cache are a tenant's, too. `make_key` alone keeps tenants apart in any backend of Django's, but
there `clear()` empties everybody's part. What a process keeps itself (`lru_cache`, a module's variable) is not reached
by any of this.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from django.core.cache.backends.redis import RedisCache

from tenants.context import current, current_or_none
from tenants.errors import NoTenant
from tenants.isolation.refusals import Layer, refused
from tenants.placement import cache_namespace

KEY_FUNCTION = "tenants.isolation.cache.make_key"
PLATFORM_NAMESPACE = "p:"
SCAN_COUNT = 1_000  # keys the server looks at per round trip, about 1 ms of its time
GLOB = re.compile(rb"([*?\[\]\\^-])")  # what has a meaning in a pattern of SCAN
PAGE_CACHES = frozenset(
    {"django.middleware.cache.UpdateCacheMiddleware", "django.middleware.cache.FetchFromCacheMiddleware"}
)


def make_key(key: str, key_prefix: str, version: int | str) -> str:
    """`t_<tenant>:<incarnation>:<prefix>:<version>:<key>` of the open scope; NoTenant without one.

    No two of (tenant, life, prefix, version, key) share a name: the first two parts have a fixed length, and in the
    next two a colon is written `%3A`, so that the key is what follows the fifth colon, whatever it holds.
    """
    try:
        scope = current()
    except NoTenant:
        refused(Layer.CACHE, "no scope")
        raise
    return f"{cache_namespace(scope.tenant_id, scope.incarnation)}{_after(key, key_prefix, version)}"


def make_platform_key(key: str, key_prefix: str, version: int | str) -> str:
    """For the control plane's own process: `p:<prefix>:<version>:<key>`, and the tenant's key inside a scope."""
    if current_or_none() is not None:
        return make_key(key, key_prefix, version)
    return f"{PLATFORM_NAMESPACE}{_after(key, key_prefix, version)}"


class TenantCache(RedisCache):
    """Django's cache over Redis or Valkey, with a `clear()` that leaves the neighbours alone."""

    def clear(self) -> None:
        """Remove the keys of the open scope under this cache's KEY_PREFIX, in every version.

        It walks over the keys of the whole server in small rounds, so it takes a second per million of them.
        """
        own = self.key_func("", self.key_prefix, "").removesuffix(":")  # up to the version
        client = self._cache.get_client(None, write=True)
        for keys in _chunks(client.scan_iter(match=_literally(own) + b"*", count=SCAN_COUNT)):
            client.unlink(*keys)

    def validate_key(self, key: str) -> None:
        """Any key is one. Django warns of what memcached would refuse, and our part takes 68 of its 250 characters."""


def open_aliases(caches: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """For a system check: the aliases of settings.CACHES whose keys do not name the tenant."""
    return [alias for alias, entry in caches.items() if entry.get("KEY_FUNCTION") not in {KEY_FUNCTION, make_key}]


def page_caches(middleware: Iterable[str]) -> list[str]:
    """For a system check: what of settings.MIDDLEWARE keeps whole pages; it asks before there is a tenant."""
    return [name for name in middleware if name in PAGE_CACHES]


def _after(key: str, key_prefix: str, version: int | str) -> str:
    return f"{_part(key_prefix)}:{_part(version)}:{key}"


def _part(value: int | str) -> str:
    return str(value).replace("%", "%25").replace(":", "%3A")


def _literally(prefix: str) -> bytes:
    return GLOB.sub(rb"\\\1", prefix.encode())


def _chunks(keys: Iterator[bytes]) -> Iterator[Sequence[bytes]]:
    chunk: list[bytes] = []
    for key in keys:
        chunk.append(key)
        if len(chunk) == SCAN_COUNT:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
