"""One pipeline to the server: who we are, and with it the first statement of a transaction.

# Note [The context costs no round trip]
Between two Syncs the server takes any number of commands and answers all of them at once (PostgreSQL 18, "Pipeline
Mode"). So BEGIN, the ticket and the statement go together. A lone statement needs no BEGIN: what stands between two
Syncs without one is a transaction of its own, which the Sync commits, deferred constraints and all, or which an error
rolls back. Ticket and path are bind parameters: a statement's text can be seen by other sessions of the same role.

# Note [What lets us in is prepared]
Reading and planning ENTER costs the server as much as all that it does. So a session that serves the same tenant again
has it prepared, under a name that nobody can guess. `DISCARD ALL`, before each other tenant, takes the statement away
with whatever else an injected statement may have put under that name; the next one gets another name. Behind a pooler
that our start-up options gave away nothing is prepared. Behind one that they did not, the session at hand may not know
the name: then nothing was run, and we go on without.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from psycopg.errors import NotSupportedError, OperationalError
from psycopg.generators import fetch_many, send
from psycopg.pq import ConnStatus, ExecStatus

from tenants.isolation.db.pooled.prepared import ERROR, Prepared, Wanted, new_name

if TYPE_CHECKING:
    from psycopg.abc import PQGen
    from psycopg.pq.abc import PGconn, PGresult

ENTER = b"SELECT set_config('search_path', $1, true), tenure_guard.enter($2, $3, $4, $5, $6, $7)"
ENTER_IN_ZONE = ENTER + b", set_config('timezone', $8, true)"  # behind a pooler that ignores start-up options
# As numbers, since libpq's come as such.
SYNC, DONE = int(ExecStatus.PIPELINE_SYNC), int(ExecStatus.COMMAND_OK)
COPIES = frozenset({int(ExecStatus.COPY_IN), int(ExecStatus.COPY_OUT), int(ExecStatus.COPY_BOTH)})


class Enter(NamedTuple):
    """The statement that lets us in: its text, and by which name the session has it, or is to have it from now on."""

    text: bytes
    name: bytes = b""
    prepares: bool = False

    def next_time(self) -> Enter:
        """How the same tenant enters the same session again, once this has let it in."""
        if not self.name:
            return Enter(self.text, new_name(), prepares=True)
        return Enter(self.text, self.name) if self.prepares else self


def fly(
    pgconn: PGconn,
    enter: Enter,
    parameters: Sequence[bytes],
    statement: bytes | Prepared | None,
    *,
    begin: bool,
    discard: bool,
    wanted: Sequence[Wanted],
) -> PQGen[tuple[PGresult | None, list[PGresult], list[bool]]]:
    """Send everything at once, and read every answer, so that the connection is clean whatever they are.

    Returns what refused the context (None: it is accepted), the results of `statement`, of which one may be an error:
    its own, or that of the commit, and of each that is `wanted` whether it is prepared now; those need an `enter` that
    is prepared, too. Raises psycopg.OperationalError when the connection breaks.
    """
    pgconn.enter_pipeline_mode()
    for each in wanted:
        pgconn.send_query_prepared(enter.name, parameters)
        pgconn.send_prepare(*each)
        pgconn.pipeline_sync()
    before = _queue(pgconn, enter, parameters, begin=begin, discard=discard)
    if statement is not None:
        send_statement(pgconn, statement)
    pgconn.pipeline_sync()
    yield from send(pgconn)

    are_prepared: list[bool] = []
    for _each in wanted:
        yield from fetch_many(pgconn)
        answered = yield from fetch_many(pgconn)
        are_prepared.append(bool(answered) and answered[-1].status == DONE)
        yield from fetch_many(pgconn)
    refusal: PGresult | None = None
    for _answer in range(before):
        for result in (yield from fetch_many(pgconn)):
            if refusal is None and result.status == ERROR:
                refusal = result
    results = (yield from fetch_many(pgconn)) if statement is not None else []
    if results and results[-1].status in COPIES:
        pgconn.finish()  # libpq finds no way back from here
        raise NotSupportedError("COPY cannot be used in a pool with execute(). Use copy() in an atomic block.")
    while not (answered := (yield from fetch_many(pgconn))) or answered[0].status != SYNC:
        results = answered or results  # the commit failed
        if pgconn.status == ConnStatus.BAD:
            raise OperationalError("the connection was lost while its answers were read", pgconn=pgconn)
    pgconn.exit_pipeline_mode()
    return refusal, results, are_prepared


def send_statement(pgconn: PGconn, statement: bytes | Prepared) -> None:
    """By the extended protocol, which takes one statement at a time."""
    if isinstance(statement, bytes):
        pgconn.send_query_params(statement, None)
    else:
        pgconn.send_query_prepared(*statement)


def _queue(pgconn: PGconn, enter: Enter, parameters: Sequence[bytes], *, begin: bool, discard: bool) -> int:
    """All that goes before the statement. Returns how many answers that will have."""
    if discard:
        pgconn.send_query_params(b"DISCARD ALL", None)
        pgconn.pipeline_sync()
    if begin:
        pgconn.send_query_params(b"BEGIN", None)
    if enter.prepares:
        pgconn.send_prepare(enter.name, enter.text)
    if enter.name:
        pgconn.send_query_prepared(enter.name, parameters)
    else:
        pgconn.send_query_params(enter.text, parameters)
    return discard * 2 + begin + enter.prepares + 1
