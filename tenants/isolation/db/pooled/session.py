"""The one session a thread has with a pool, whichever of its tenants asks."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from threading import local
from typing import TYPE_CHECKING

import psycopg
from psycopg.pq import TransactionStatus

from tenants.isolation.db.pooled.flight import Enter
from tenants.isolation.db.pooled.prepared import Statements

if TYPE_CHECKING:
    from tenants.isolation.db.pooled.base import DatabaseWrapper

IDLE = int(TransactionStatus.IDLE)
MAX_AGE_S = 60  # like CONN_MAX_AGE of the aliases, which come and go over it


class Session:
    """A raw connection, who works on it, and whose transaction it last was."""

    __slots__ = ("last", "next_enter", "obsolete_at", "prepares", "raw", "statements", "used_before", "users")

    def __init__(self, raw: psycopg.Connection) -> None:
        self.raw = raw
        self.users: set[DatabaseWrapper] = set()
        self.last: DatabaseWrapper | None = None
        self.next_enter: Enter | None = None  # how `last` enters again, where that is known
        self.statements = Statements()  # of `last`
        self.prepares = True  # until a pooler is found between us and the server
        self.used_before = False  # then whoever comes next begins with DISCARD ALL, unless it is `last` again
        self.obsolete_at = time.monotonic() + MAX_AGE_S

    @property
    def idle(self) -> bool:
        return self.raw.pgconn.transaction_status == IDLE

    @property
    def replaceable(self) -> bool:
        return self.raw.closed or (time.monotonic() >= self.obsolete_at and self.idle)

    def leave(self, user: DatabaseWrapper) -> None:
        """The last one to leave closes it; so does who leaves in the middle of a transaction."""
        self.users.discard(user)
        if self.last is user:
            self.last = None
            if not self.idle:
                self.raw.close()
        if not self.users:
            self.raw.close()


class _Mine(local):
    """The sessions of this thread, by server, database and role."""

    def __init__(self) -> None:
        self.sessions: dict[Hashable, Session] = {}


_mine = _Mine()


def join(user: DatabaseWrapper, identity: Hashable, connect: Callable[[], psycopg.Connection]) -> Session:
    """The thread's session with a pool; opened if there is none, or none that can be used any more."""
    session = _mine.sessions.get(identity)
    if session is None or session.replaceable:
        if session is not None:
            session.raw.close()
        session = _mine.sessions[identity] = Session(connect())
    session.users.add(user)
    return session
