"""What is left of a tenant in the cache: any key that names its id, in any way, in any logical database."""

from collections.abc import Iterable
from typing import Any

from django.conf import settings

from provisioning.erasure.controls import CACHE_KEY, CONTROL_ID
from provisioning.erasure.stores import Control, Coverage, Kind, Residue, Scope, Tally
from provisioning.erasure.verifiers.key_spaces import holds_needle, scanned, server, values_of
from tenants.findings import Finding
from tenants.placement import cache_sentinel


class CacheVerifier:
    """Of a tenant it counts keys; of a person those of the tenant's whose name or value holds an identifier."""

    store = "cache"
    scopes: frozenset[Kind] = frozenset({"tenant", "subject"})

    def coverage(self, scope: Scope) -> Coverage:
        with server(settings.CACHE_URL) as databases:
            return Coverage(tuple(_locator(client) for client in databases))

    def blockers(self, scope: Scope) -> Iterable[Finding]:
        return ()

    def count(self, scope: Scope) -> tuple[Tally, ...]:
        with server(settings.CACHE_URL) as databases:
            return tuple(_left(client, scope) for client in databases)

    def control(self, scope: Scope) -> Control:
        """The same scan finds a permanent key of Tenure's own."""
        with server(settings.CACHE_URL) as databases:
            seen = {key for client in databases for key in scanned(client, f"*{CONTROL_ID.hex}*")}
        return Control(CACHE_KEY.encode() in seen, f"SCAN of {len(databases)} databases, which finds the control key")

    def residue(self, scope: Scope) -> tuple[Residue, ...]:
        return (Residue("the cache's own files", "AOF and RDB keep a key until they are written anew", None),)


def _locator(client: Any) -> str:
    return f"cache:db{client.connection_pool.connection_kwargs['db']}"


def _left(client: Any, scope: Scope) -> Tally:
    """By the id in both ways of writing it, wherever in the key it stands."""
    forms = (scope.tenant_id.hex, str(scope.tenant_id))
    keys = {key for form in forms for key in scanned(client, f"*{form}*")}
    if scope.kind == "tenant":
        return Tally(_locator(client), len(keys), sentinel=cache_sentinel(scope.tenant_id).encode() in keys)
    found = sum(holds_needle(key + b"\n" + b"\n".join(values_of(client, key)), scope) for key in keys)
    return Tally(_locator(client), found)
