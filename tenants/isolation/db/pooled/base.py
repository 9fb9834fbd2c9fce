"""The Django database backend of a tenant in a pool: shared tables, and a context that the database checks itself.

# Note [Who is in the transaction]
The raw connection belongs to the thread, not to the tenant, and stays in psycopg's autocommit. A transaction of Django
begins on the server with its first statement, and the context with it (see `flight.py`). `begun` says that we sent
BEGIN; what the server says of itself is asked before each statement, since raw SQL may end a transaction too. A session
that served somebody else is wiped first: what a session remembers (settings, locks, prepared statements, LISTEN) would
be a bridge between tenants.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from django.db import InterfaceError, ProgrammingError
from django.db.backends.postgresql.base import TIMESTAMPTZ_OID
from django.db.backends.postgresql.psycopg_any import register_tzloader
from psycopg.errors import error_from_result
from psycopg.pq import DiagnosticField, Format, TransactionStatus

from tenants.context import TenantContext
from tenants.errors import WrongTenant
from tenants.isolation import connections, credentials
from tenants.isolation.db import base
from tenants.isolation.db.pooled.cursor import Cursor
from tenants.isolation.db.pooled.errors import (
    ContextRefused,
    NoContextKey,
    StatementLost,
    TenantClosed,
    TransactionLost,
)
from tenants.isolation.db.pooled.features import DatabaseFeatures
from tenants.isolation.db.pooled.flight import ENTER, ENTER_IN_ZONE, Enter, fly
from tenants.isolation.db.pooled.prepared import UNKNOWN_NAME, Prepared, Statements, is_lost
from tenants.isolation.db.pooled.session import Session, join
from tenants.isolation.refusals import Layer, refused
from tenants.isolation.tickets import mint

if TYPE_CHECKING:
    from psycopg.abc import Params, PQGen, Transformer
    from psycopg.pq.abc import PGresult

NO_PATH = "pg_catalog"  # without a context no table has a name
TICKET_REUSED_S = 5
FORGED, EXPIRED, CLOSED = "forged ticket", "expired ticket", "tenant is not open here"


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection of one tenant of a pool; the tenants of a pool share what is below it, one at a time."""

    features_class = DatabaseFeatures
    begun = False
    _session: Session | None = None
    _enter = ENTER
    _ticket: tuple[bytes, ...] = ()
    _ticket_good_until = 0.0  # of time.monotonic()
    _ticket_kept = False  # the ticket that was used last had been used before

    def get_new_connection(self, conn_params: dict[str, Any]) -> psycopg.Connection:
        identity = tuple(conn_params[part] for part in ("host", "port", "dbname", "user"))
        session = self._session = join(self, identity, lambda: self._open(conn_params))
        self.opened_for, self.begun, self._ticket_good_until = self.scope(), False, 0.0
        # PostgreSQL reports the path of a session. Another than ours: a pooler ignored our start-up options.
        ours = session.raw.info.parameter_status("search_path") == NO_PATH
        self._enter = ENTER if ours else ENTER_IN_ZONE
        session.prepares = session.prepares and ours
        return session.raw

    @property
    def session(self) -> Session:
        """What this thread has with the pool, while we are connected."""
        if self._session is None:
            raise InterfaceError("connection already closed")
        return self._session

    def check_database_version_supported(self) -> None:
        """Once a session would do, and an alias is made often: `check_cluster` looks at the server's version."""

    def create_cursor(self, name: str | None = None) -> Any:  # noqa: ARG002  a cursor on the server outlives its tenant
        cursor = Cursor(self.connection, self)
        if self.timezone != self.connection.adapters.get_loader(TIMESTAMPTZ_OID, Format.TEXT).timezone:
            register_tzloader(self.timezone, cursor)
        return cursor

    def chunked_cursor(self) -> Any:
        return self.cursor()

    def prepared(self, query: str, params: Params, transformer: Transformer) -> Prepared | None:
        """The statement as our session has it, if it does. Who logs queries is to see their values."""
        session = self._session
        if session is None or session.last is not self or not session.prepares or session.statements.lost:
            return None
        return None if self.queries_logged else session.statements.prepared(query, params, transformer)

    def enter_gen(self, statement: bytes | Prepared | None, *, begin: bool) -> PQGen[list[PGresult]]:
        """Let the server know who we are, and run a statement with it. Raises ContextRefused, or StatementLost where
        the session does not have the prepared one any more; then nothing was run.
        """
        session = self.session
        pgconn = session.raw.pgconn
        stays = session.last is self and not session.statements.lost
        enter = (session.next_enter if stays else None) or Enter(self._enter)
        discard = not stays and session.used_before
        statements = session.statements = session.statements if stays else Statements()
        wanted = statements.wanted if enter.name and not enter.prepares else []
        session.last, session.next_enter, session.used_before = None, None, True  # whatever breaks off here: nobody's
        refusal, results, are_prepared = yield from fly(
            pgconn, enter, self._parameters(), statement, begin=begin, discard=discard, wanted=wanted
        )
        session.last = self
        if wanted:
            statements.answered(are_prepared)
        if refusal is None and not (isinstance(statement, Prepared) and is_lost(results)):
            self.begun = begin
            session.next_enter = enter.next_time() if session.prepares else None
            return results
        if pgconn.transaction_status != TransactionStatus.IDLE:
            yield from session.raw._exec_command(b"ROLLBACK")  # noqa: SLF001  the generator behind rollback()
        if refusal is None:
            statements.lost = True
            raise StatementLost
        if enter.name and refusal.error_field(DiagnosticField.SQLSTATE) == UNKNOWN_NAME:
            session.prepares = False
            if isinstance(statement, Prepared):
                raise StatementLost
            return (yield from self.enter_gen(statement, begin=begin))
        raise self._refused(error_from_result(refusal))

    def begin(self) -> None:
        """Open the transaction now, for what does not come as a single statement."""
        try:
            self._begin()
        except ContextRefused as refused:
            if not self.renewed_after(refused):
                raise
            self._begin()

    @contextmanager
    def in_transaction(self) -> Iterator[None]:
        """The one that is open, opened now if need be; in Django's autocommit one for this block alone."""
        if self.begun:
            yield
            return
        self.begin()
        if not self.autocommit:
            yield
            return
        try:
            yield
        except BaseException:
            self._rollback()
            raise
        self._commit()

    def check_still_ours(self) -> None:
        """Raises TransactionLost, or WrongTenant where the session is in a transaction of another tenant."""
        session = self.session
        if self.begun:
            if session.idle:
                raise TransactionLost
        elif session.last is not self:
            raise WrongTenant("A transaction of another tenant is open in this thread.")

    def renewed_after(self, refused: ContextRefused) -> bool:
        """Whether another try makes sense: with a key we did not know, or a fresh ticket after one we had kept."""
        kept, self._ticket_good_until = self._ticket_kept, 0.0
        if refused.metadata["reason"] != FORGED:
            return kept and refused.metadata["reason"] == EXPIRED
        known = credentials.of(self.scope()).database.context_key
        return credentials.renewed(self.scope()).database.context_key != known

    def _begin(self) -> None:
        raw = self.session.raw
        with self.wrap_database_errors, raw.lock:
            raw.wait(self.enter_gen(None, begin=True))

    def _watch_cursors(self) -> None:
        """Ours ask by themselves, which takes Django's long way round out of each statement."""

    def _params(self, scope: TenantContext, given: credentials.Credentials) -> dict[str, Any]:
        """Start-up options overrule what an injected ALTER ROLE makes of the role that all tenants share."""
        options = f"-c search_path={NO_PATH} -c timezone={self.timezone_name}"
        return {**super()._params(scope, given), "options": options, "autocommit": True}

    def _open(self, conn_params: dict[str, Any]) -> psycopg.Connection:
        return super().get_new_connection(conn_params)

    def _opened(self, connection: psycopg.Connection) -> None:
        """A login role of its own means a connection of its own, which may be closed to make room."""
        if connection.info.user == self.alias:
            connections.opened(self.alias, connection)
        else:
            connections.opened_shared(connection)

    def _set_autocommit(self, autocommit: bool) -> None:  # noqa: FBT001  Django's signature
        if autocommit and self.begun:
            raise ProgrammingError("can't change 'autocommit' now: a transaction is open")

    def _commit(self) -> None:
        if self._in_transaction():
            self.begun = False
            super()._commit()  # type: ignore[misc]  # left out of django-stubs

    def _rollback(self) -> None:
        if self._in_transaction():
            self.begun = False
            super()._rollback()  # type: ignore[misc]  # left out of django-stubs

    def _in_transaction(self) -> bool:
        """Ours, be it begun by us or by a statement of the application."""
        return self.begun or (self._session is not None and self._session.last is self and not self._session.idle)

    def _close(self) -> None:
        if self._session is not None:
            self._session.leave(self)
            self._session, self.begun = None, False

    def _has_served(self) -> bool:
        return self.session.replaceable

    def _parameters(self) -> tuple[bytes, ...]:
        """What `enter` is called with. A ticket is good for any session, so one serves for some seconds."""
        now = time.monotonic()
        self._ticket_kept = now < self._ticket_good_until
        if not self._ticket_kept:
            scope = self.scope()
            given = credentials.of(scope).database
            if given.context_key is None:
                raise NoContextKey
            ticket = mint(scope, given.context_key)
            self._ticket = (
                given.schema.encode(),
                ticket.purpose.encode(),
                ticket.tenant.hex.encode(),
                ticket.incarnation.hex.encode(),
                b"%d" % ticket.expires,
                ticket.key_version.encode(),
                b"\\x" + ticket.mac.hex().encode(),
            )
            if self._enter is ENTER_IN_ZONE:
                self._ticket += (self.timezone_name.encode(),)
            self._ticket_good_until = now + TICKET_REUSED_S
        return self._ticket

    def _refused(self, error: psycopg.Error) -> Exception:
        """What the guard says becomes ours; anything else (a broken guard, a statement timeout) stays PostgreSQL's."""
        said, _, reason = (error.diag.message_primary or "").partition(": ")
        if said != "tenant context refused":
            return error
        refused(Layer.DATABASE, reason)
        kind = TenantClosed if reason == CLOSED else ContextRefused
        return kind(f"The database refuses tenant {self.scope().slug}: {reason}.", reason=reason)
