"""A tenant's part of the cache: every key begins with its id and with the incarnation of its life.

A former life's keys can so be neither read nor mistaken. Nothing is made and nothing is kept; the server is shared.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import islice

from django.conf import settings
from redis import Redis
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoPermissionError,
    RedisError,
)
from redis.exceptions import (
    ConnectionError as NoConnection,
)
from redis.exceptions import (
    TimeoutError as NoAnswer,
)

from provisioning.errors import Permanent, Transient
from provisioning.models import Claim, Handle, ResourceKind
from tenants.context import TenantContext
from tenants.findings import Finding, Severity
from tenants.placement import cache_namespace, cache_sentinel

SCAN_COUNT = 1_000  # keys the server looks at per round trip, about 1 ms of its time
CHUNKS_PER_CALL = 10


class CacheUnreachable(Transient):
    """The cache (CACHE_URL) does not answer."""

    code = "CACHE_UNREACHABLE"


class CacheRefused(Permanent):
    """The cache (CACHE_URL) refused the call."""

    code = "CACHE_REFUSED"
    cure = "Check the user and password in CACHE_URL and its ACL; it needs GET, SET, SCAN and UNLINK."


class CacheNamespace:
    """`t_<hex>:<incarnation>:` in front of every key. Its items are keys."""

    kind = ResourceKind.CACHE

    def plan(self, tenant: TenantContext) -> Handle:
        return {"namespace": cache_namespace(tenant.tenant_id, tenant.incarnation)}

    def provision(self, tenant: TenantContext, handle: Handle, *, claim: Claim) -> None:
        """Write one key, read it back and remove it: the namespace is usable, and empty again."""
        probe = f"{_own_namespace(tenant, handle)}probe:{claim.run_id.hex}"
        with cache_errors():
            client().set(probe, "1", ex=60)  # gone in a minute even if we are killed before the next line
            if client().getdel(probe) is None:
                raise CacheRefused("The cache took a key and did not keep it.", cure="Give it memory: see `maxmemory`.")

    def verify(self, tenant: TenantContext, handle: Handle) -> Iterator[Finding]:
        namespace = _own_namespace(tenant, handle)
        known = (namespace.encode(), cache_sentinel(tenant.tenant_id).encode())
        with cache_errors():
            former = next((key for key in _keys(f"{tenant.key}:*") if not key.startswith(known)), None)
        if former is not None:
            message = (
                "The cache holds keys of this tenant under another incarnation: an earlier life's, or a mistake's."
            )
            hint = "Erase them; they expire by themselves if they have a time to live."
            yield Finding("cache.former_life", Severity.WARNING, namespace, message, hint)

    def count(self, tenant: TenantContext, handle: Handle) -> int:
        """Looks at the whole server's key space, in small rounds. A key that moves meanwhile is counted once."""
        with cache_errors():
            return len(set(_keys(f"{_own_namespace(tenant, handle)}*")))

    def erase(self, tenant: TenantContext, handle: Handle, *, limit: int) -> int:
        with cache_errors():
            doomed = list(islice(_keys(f"{_own_namespace(tenant, handle)}*"), limit))
            return int(client().unlink(*doomed)) if doomed else 0

    def deprovision(self, tenant: TenantContext, handle: Handle, *, claim: Claim) -> None:  # noqa: ARG002
        for _chunk in range(CHUNKS_PER_CALL):
            if not self.erase(tenant, handle, limit=SCAN_COUNT):
                break
        with cache_errors():
            client().unlink(cache_sentinel(tenant.tenant_id))
        if left := self.count(tenant, handle):
            raise CacheUnreachable(f"{left} cache keys are left; the rest goes next time.", left=left)


@contextmanager
def cache_errors() -> Iterator[None]:
    """Authentication errors derive from connection errors in this client, so they are told apart first."""
    try:
        yield
    except (AuthenticationError, NoPermissionError) as error:
        raise CacheRefused from error
    except (NoConnection, NoAnswer, BusyLoadingError, OSError) as error:
        raise CacheUnreachable from error
    except RedisError as error:
        raise CacheRefused(f"The cache answered with {type(error).__name__}.") from error


def _own_namespace(tenant: TenantContext, handle: Handle) -> str:
    """Raises NotOwnNamespace for any but this tenant's: a changed handle, or an empty one, would match everybody's."""
    namespace = str(handle["namespace"])
    if not namespace.startswith(f"{tenant.key}:") or not namespace.endswith(":"):
        raise NotOwnNamespace
    return namespace


class NotOwnNamespace(Permanent):
    """The handle names a cache namespace that is not this tenant's."""

    code = "NOT_OWN_NAMESPACE"
    cure = "Nothing was touched. Find out how the handle of the resource was changed."


def _keys(pattern: str) -> Iterator[bytes]:
    return client().scan_iter(match=pattern, count=SCAN_COUNT)


def client() -> "Redis":
    """Of this process, kept connected."""
    return _connected(settings.CACHE_URL, os.getpid())


@lru_cache(maxsize=4)
def _connected(url: str, _process: int) -> "Redis":
    """A pool of connections, one per process: sockets do not survive a fork."""
    return Redis.from_url(url, socket_connect_timeout=2, socket_timeout=5)
