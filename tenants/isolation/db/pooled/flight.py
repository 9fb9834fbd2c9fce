"""One pipeline to the server: who we are, and with it the first statement of a transaction.

# Note [The context costs no round trip]
Between two Syncs the server takes any number of commands and answers all of them at once (PostgreSQL 18, "Pipeline
Mode"). So BEGIN, the ticket and the statement go together. A lone statement needs no BEGIN: what stands between two
Syncs without one is a transaction of its own, which the Sync commits, deferred constraints and all, or which an error
rolls back. Ticket and path are bind parameters: a statement's text can be seen by other sessions of the same role.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from psycopg.errors import NotSupportedError, OperationalError
from psycopg.generators import fetch_many, send
from psycopg.pq import ConnStatus, ExecStatus

if TYPE_CHECKING:
    from psycopg.abc import PQGen
    from psycopg.pq.abc import PGconn, PGresult

ENTER = b"SELECT set_config('search_path', $1, true), tenure_guard.enter($2, $3, $4, $5, $6, $7)"
ENTER_IN_ZONE = ENTER + b", set_config('timezone', $8, true)"  # behind a pooler that ignores start-up options
COPIES = (ExecStatus.COPY_IN, ExecStatus.COPY_OUT, ExecStatus.COPY_BOTH)


def fly(
    pgconn: PGconn, enter: bytes, parameters: Sequence[bytes], statement: bytes | None, *, begin: bool, discard: bool
) -> PQGen[tuple[PGresult | None, list[PGresult]]]:
    """Send everything at once, and read every answer, so that the connection is clean whatever they are.

    Returns what refused the context (None: it is accepted), and the results of `statement`, of which one may be an
    error: its own, or that of the commit. Raises psycopg.OperationalError when the connection breaks.
    """
    pgconn.enter_pipeline_mode()
    if discard:
        pgconn.send_query_params(b"DISCARD ALL", None)
        pgconn.pipeline_sync()
    if begin:
        pgconn.send_query_params(b"BEGIN", None)
    pgconn.send_query_params(enter, parameters)
    if statement is not None:
        pgconn.send_query_params(statement, None)
    pgconn.pipeline_sync()
    yield from send(pgconn)

    refusals: list[PGresult] = []
    for _command in range(discard * 2 + begin + 1):
        answered = yield from fetch_many(pgconn)
        refusals += [result for result in answered if result.status == ExecStatus.FATAL_ERROR]
    results = (yield from fetch_many(pgconn)) if statement is not None else []
    if results and results[-1].status in COPIES:
        pgconn.finish()  # libpq finds no way back from here
        raise NotSupportedError("COPY cannot be used in a pool with execute(). Use copy() in an atomic block.")
    while not (answered := (yield from fetch_many(pgconn))) or answered[0].status != ExecStatus.PIPELINE_SYNC:
        results = answered or results  # the commit failed
        if pgconn.status == ConnStatus.BAD:
            raise OperationalError("the connection was lost while its answers were read", pgconn=pgconn)
    pgconn.exit_pipeline_mode()
    return (refusals[0] if refusals else None), results
