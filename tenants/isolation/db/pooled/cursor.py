"""The cursor of a pooled connection: the first statement of a transaction takes the context with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from django.db.backends.postgresql import base
from psycopg import ClientCursor, Connection, Copy, NotSupportedError
from psycopg.generators import execute

from tenants.isolation.db.pooled.conflict import pooled_query
from tenants.isolation.db.pooled.errors import ContextRefused, StatementLost
from tenants.isolation.db.pooled.flight import send_statement
from tenants.isolation.db.pooled.prepared import Prepared, is_lost
from tenants.isolation.db.pooled.session import IDLE

if TYPE_CHECKING:
    from psycopg.abc import Params, PQGen, Query

    from tenants.isolation.db.pooled.base import DatabaseWrapper

BLANK = b"; \t\r\n"


class Cursor(base.CursorMixin, ClientCursor[tuple[Any, ...]]):
    """Django's, which binds parameters in the client, so that the ORM may send whatever SQL it likes."""

    def __init__(self, connection: Connection[Any], wrapper: DatabaseWrapper) -> None:
        super().__init__(connection)
        self._wrapper = wrapper

    def execute(
        self, query: Query, params: Params | None = None, *, prepare: bool | None = None, binary: bool | None = None
    ) -> Self:
        self._wrapper.scope()  # or it raises
        text: Any = pooled_query(query, self)  # the overloads of psycopg are for each kind of query, not for any
        try:
            return super().execute(text, params, prepare=prepare, binary=binary)
        except StatementLost:
            if not self._wrapper.session.idle:  # else nothing was run
                raise
        except ContextRefused as refused:
            if not self._wrapper.renewed_after(refused):
                raise
        return super().execute(text, params, prepare=prepare, binary=binary)

    def executemany(self, query: Query, params_seq: Iterable[Params], *, returning: bool = False) -> None:
        self._wrapper.scope()  # or it raises
        with self._wrapper.in_transaction():
            super().executemany(pooled_query(query, self), params_seq, returning=returning)

    @contextmanager
    def copy(self, *arguments: Any, **options: Any) -> Iterator[Copy]:
        """COPY … TO gives the tenant's own rows. COPY … FROM is refused by the server under row security."""
        self._wrapper.scope()  # or it raises
        if self._wrapper.autocommit:
            raise NotSupportedError("COPY in a pool needs a transaction. Put it into an atomic block.")
        with self._wrapper.in_transaction(), super().copy(*arguments, **options) as copy:
            yield copy

    def _convert_query(self, query: Query, params: Params | None = None) -> Any:
        """psycopg's, with values as literals; where our session has the statement prepared, that."""
        if params and isinstance(query, str) and not self._conn._pipeline:  # noqa: SLF001
            prepared = self._wrapper.prepared(query, params, self._tx)
            if prepared is not None:
                return prepared
        return super()._convert_query(query, params)

    def _maybe_prepare_gen(
        self,
        pgq: Any,
        *,
        prepare: bool | None = None,  # noqa: ARG002
        binary: bool | None = None,
    ) -> PQGen[None]:
        """The part of psycopg's `execute` that talks to the server. What is prepared is ours: see `prepared.py`."""
        wrapper = self._wrapper
        if self._conn._pipeline:  # noqa: SLF001  executemany, inside `in_transaction`
            yield from super()._maybe_prepare_gen(pgq, prepare=False, binary=binary)
            return
        statement = pgq
        if not isinstance(pgq, Prepared):
            self._query, statement = pgq, pgq.query
            if statement[:4].upper() == b"COPY":
                raise NotSupportedError("COPY cannot be used with execute(). Use copy() in an atomic block.")
        if wrapper.begun or self._pgconn.transaction_status != IDLE:
            wrapper.check_still_ours()
            yield from self._alone_gen(statement)
        elif isinstance(statement, bytes) and is_several(statement):
            yield from self._several_gen(statement)
        else:
            results = yield from wrapper.enter_gen(statement, begin=not wrapper.autocommit)
            self._check_results(results)
            self._set_results(results)

    def _alone_gen(self, statement: bytes | Prepared) -> PQGen[None]:
        if isinstance(statement, bytes):
            self._pgconn.send_query(statement)
        else:
            send_statement(self._pgconn, statement)
        results = yield from execute(self._pgconn)
        if isinstance(statement, Prepared) and is_lost(results):
            self._wrapper.session.statements.lost = True
            raise StatementLost
        self._check_results(results)
        self._set_results(results)

    def _several_gen(self, statement: bytes) -> PQGen[None]:
        """A pipeline takes one statement at a time; a string of several travels after the context."""
        wrapper = self._wrapper
        yield from wrapper.enter_gen(None, begin=True)
        if not wrapper.autocommit:
            yield from self._alone_gen(statement)
            return
        wrapper.begun = False
        try:
            yield from self._alone_gen(statement)
        finally:
            if self._pgconn.transaction_status != IDLE:
                self._pgconn.send_query(b"COMMIT")  # of a failed transaction: a rollback
                ended = yield from execute(self._pgconn)
        self._check_results(ended)


def is_several(statement: bytes) -> bool:
    """Whether it may hold more than one statement: a semicolon inside, be it in a literal."""
    return b";" in statement and b";" in statement.rstrip(BLANK)
