"""Who the running code is working for. One context variable; nothing else in the process remembers "the tenant"."""

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from uuid import UUID

from tenants.errors import NoTenant, WrongTenant
from tenants.placement import tenant_key
from tenants.states import Tier


@dataclass(frozen=True)
class TenantContext:
    """A tenant as code needs it: identity, and where its rows live. Plain data, safe to hand to any seam.

    `incarnation` changes when a tenant's life starts anew, so that late work of a former life can be told apart.
    `cluster` is the name of the cluster; `database` and `schema` are names on it. `pool_id` is None outside of pools.
    """

    tenant_id: UUID
    incarnation: UUID
    slug: str
    tier: Tier
    cluster: str
    database: str
    schema: str
    pool_id: UUID | None = None

    @cached_property
    def key(self) -> str:
        """`t_<32 hex>`: the name of the login role, and of the schema or database that is the tenant's own.

        Kept, since each statement of the tenant asks for it several times.
        """
        return tenant_key(self.tenant_id)


_scope: ContextVar[TenantContext | None] = ContextVar("tenant_scope", default=None)
_counting = Lock()
_open: dict[str, int] = {}
"""How many scopes are open in this process, by tenant key: what belongs to none may be given up."""


def current() -> TenantContext:
    """The open scope. Raises NoTenant: work without a tenant is a mistake, never "everyone"."""
    if (context := _scope.get()) is None:
        raise NoTenant
    return context


def current_or_none() -> TenantContext | None:
    """The open scope, for the few seams that serve both sides: the router and the log filter."""
    return _scope.get()


class tenant_scope:  # noqa: N801  read as a verb. A class, since a generator costs each request twice as much
    """Everything inside belongs to one tenant. Raises WrongTenant inside another tenant's scope.

    It follows the code into coroutines and `sync_to_async`, and not into threads that the code starts itself.
    """

    __slots__ = ("_context", "_token")

    def __init__(self, context: TenantContext) -> None:
        self._context = context

    def __enter__(self) -> TenantContext:
        context = self._context
        if (outer := _scope.get()) is not None and outer.tenant_id != context.tenant_id:
            raise WrongTenant
        with _counting:
            _open[context.key] = _open.get(context.key, 0) + 1
        self._token = _scope.set(context)
        return context

    def __exit__(self, *_error: object) -> None:
        _scope.reset(self._token)
        key = self._context.key
        with _counting:
            if left := _open[key] - 1:
                _open[key] = left
            else:
                del _open[key]


def while_idle(key: str, act: Callable[[], None]) -> bool:
    """Call `act` unless a scope of this tenant is open in the process; none opens meanwhile. False: it was in use."""
    with _counting:
        if key in _open:
            return False
        act()
        return True
