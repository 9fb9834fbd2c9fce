"""One alias of Django's databases per tenant, made when first asked for and given up when others need the room.

# Note [Aliases come and go]
An alias holds no address and no password: the connection asks for them when it opens. Django walks over
`connections.settings` in every thread, so that mapping is replaced, never changed. Connections belong to the thread
that opened them, and yet a process must not collect one per thread and tenant: when there are more than MOST_OPEN,
those of the tenant used longest ago are closed from whichever thread needs the room. That is safe because it happens
only while no scope of that tenant is open in the process, and without one nothing may run on them (see `db/base.py`).
Tenants in use are never closed, so a process that serves more than MOST_OPEN at the same moment holds more.
Tenants of a pool share one connection per thread and pool (see `db/pooled/session.py`). It is closed when the last of
this thread's aliases that use it goes, not to make room: there are as many as threads and pools, however many tenants.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from functools import cache
from threading import Lock, local
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import psycopg
from django.apps import apps
from django.db import DEFAULT_DB_ALIAS, connections

from tenants.context import TenantContext, while_idle
from tenants.states import Tier

if TYPE_CHECKING:
    from tenants.isolation.db.base import DatabaseWrapper

ENGINE = "tenants.isolation.db"
POOLED_ENGINE = f"{ENGINE}.pooled"
CONTROL_ALIAS = "control"  # where the control database is when `default` is the tenant
ALIAS = re.compile(r"t_[0-9a-f]{32}")  # TenantContext.key
MOST_OPEN = 32  # connections, and tenants with an alias, of one process

_changing = Lock()
_opened: OrderedDict[str, WeakSet[psycopg.Connection]] = OrderedDict()
"""The raw connections by alias, the one used longest ago first. Weak: a thread that ends closes its own."""
_shared: WeakSet[psycopg.Connection] = WeakSet()
"""The raw connections that belong to no alias: the threads' sessions with pools."""


class _Mine(local):
    """The wrappers of this thread, by alias."""

    def __init__(self) -> None:
        self.wrappers: dict[str, DatabaseWrapper] = {}
        self.last: DatabaseWrapper | None = None
        self.asked: tuple[TenantContext | None, object] = (None, None)  # by alias_of, and what the settings were
        self.meant: tuple[TenantContext | None, object, Any] = (None, None, None)  # the same, and what they led to


_mine = _Mine()


def alias_of(context: TenantContext) -> str:
    """The alias of Django's databases that leads to this tenant; made if need be."""
    alias = context.key
    asked, settings = _mine.asked
    if asked is context and settings is connections.settings:
        return alias
    engine = POOLED_ENGINE if context.tier == Tier.POOL else ENGINE
    if (entry := connections.settings.get(alias)) is None or entry["ENGINE"] != engine:
        _add(alias, engine)
    elif (mine := _mine.wrappers.get(alias)) is not None and mine.settings_dict["ENGINE"] != engine:
        _drop_wrapper(alias)  # the tenant has moved, and another thread was the first to hear of it
    if alias in (settings := connections.settings):
        _mine.asked = (context, settings)
    return alias


def connection_of(context: TenantContext) -> Any:
    """The tenant's connection of this thread: `connections[alias_of(context)]`, kept while one tenant asks."""
    meant, settings, wrapper = _mine.meant
    if meant is context and settings is connections.settings:
        return wrapper
    wrapper = connections[alias_of(context)]
    _mine.meant = (context, connections.settings, wrapper)
    return wrapper


def let_default_follow_scope() -> None:
    """In this process, from now on, `default` is the tenant of the open scope: see Note [`default` means the tenant].

    For a process that began as one of the control plane's; an application has it in its settings.
    """
    connections["default"].close()
    del connections["default"]
    moved = {"default": {"ENGINE": f"{ENGINE}.scoped"}, CONTROL_ALIAS: connections.settings["default"]}
    connections.settings = connections.configure_settings({**connections.settings, **moved})


def is_tenants(alias: str) -> bool:
    """Whether an alias is a tenant's, be it still there or given up."""
    return ALIAS.fullmatch(alias) is not None


def wrappers_of_this_thread() -> dict[str, DatabaseWrapper]:
    return _mine.wrappers


def made(wrapper: DatabaseWrapper) -> None:
    """Know of a new wrapper. A thread may have two of one alias: Django gives a coroutine one of its own.

    The one in a transaction is remembered, and whoever asks next is looked at again.
    """
    known = _mine.wrappers.get(wrapper.alias)
    if known is None or not known.in_atomic_block:
        _mine.wrappers[wrapper.alias] = wrapper
    _mine.last = None


def was_last(wrapper: DatabaseWrapper) -> bool:
    """Whether this wrapper is the one that this thread asked last."""
    return _mine.last is wrapper


def open_count() -> int:
    """How many connections to tenants' databases this process holds open."""
    with _changing:
        return _count() + sum(not connection.closed for connection in _shared)


def opened(alias: str, connection: psycopg.Connection) -> None:
    """Remember a new connection, and make room for it."""
    with _changing:
        _opened.setdefault(alias, WeakSet()).add(connection)
        _opened.move_to_end(alias)
        _make_room()


def opened_shared(connection: psycopg.Connection) -> None:
    """Remember a thread's session with a pool."""
    with _changing:
        _shared.add(connection)


def used(wrapper: DatabaseWrapper) -> None:
    _mine.last = _mine.wrappers[wrapper.alias] = wrapper
    with _changing:
        if wrapper.alias in _opened:
            _opened.move_to_end(wrapper.alias)


@cache
def _entry(engine: str) -> dict[str, Any]:
    """What Django makes of a tenant's settings. In a pool, a cursor on the server would outlive its tenant's turn."""
    ours = {"ENGINE": engine, "CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True}
    if engine == POOLED_ENGINE:
        ours["DISABLE_SERVER_SIDE_CURSORS"] = True
    entry: dict[str, Any] = connections.configure_settings({DEFAULT_DB_ALIAS: ours})[DEFAULT_DB_ALIAS]
    return entry


def _add(alias: str, engine: str) -> None:
    with _changing:
        connections.settings = {**connections.settings, alias: {**_entry(engine), "NAME": alias}}
        _opened.setdefault(alias, WeakSet())
        _make_room()
    for known, wrapper in list(_mine.wrappers.items()):  # given up by another thread, which could not reach ours
        if known not in connections.settings or (known == alias and wrapper.settings_dict["ENGINE"] != engine):
            _drop_wrapper(known)


def _drop_wrapper(alias: str) -> None:
    wrapper = _mine.wrappers.pop(alias)
    _mine.meant = (None, None, None)
    del connections[alias]
    wrapper.close()


def _make_room() -> None:
    for alias in list(_opened):
        if len(_opened) <= MOST_OPEN and _count() <= MOST_OPEN:
            return
        while_idle(alias, lambda alias=alias: _give_up(alias))  # type: ignore[misc]  # binds this turn's alias


def _give_up(alias: str) -> None:
    for connection in _opened.pop(alias):
        connection.close()
    connections.settings = {name: entry for name, entry in connections.settings.items() if name != alias}
    if apps.is_installed("django.contrib.contenttypes"):
        from django.contrib.contenttypes.models import ContentType

        ContentType.objects._cache.pop(alias, None)  # type: ignore[attr-defined]  # noqa: SLF001  it keeps every alias it ever saw


def _count() -> int:
    return sum(not connection.closed for held in _opened.values() for connection in held)
