"""Many statements in one round trip, and yet it is known which of them was refused.

# Note [How a refused act is found]
PostgreSQL answers each statement of a text, and stops at the first that it refuses (PostgreSQL 18, "Multiple Statements
in a Simple Query"). It does not say which that was, so behind each act stands a SELECT of one fixed word: the act that
was refused is the one after as many words as have come back.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import psycopg
from psycopg import generators
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, TransactionStatus

from provisioning.databases.replaying.errors import Refusal, Refused
from provisioning.databases.servers import Connection

if TYPE_CHECKING:
    from psycopg.abc import PQGen
    from psycopg.pq.abc import PGresult

WORD = "tenure: done"
_ANSWERED = f"SELECT '{WORD}';"


def joined(texts: Iterable[str]) -> str:
    """The texts of acts as one text, each with its word behind it. A text may end in a comment."""
    return "".join(f"{text}\n;{_ANSWERED}\n" for text in texts)


def send(connection: Connection, text: str) -> str | None:
    """Run the statements of a text, in one round trip. Returns the first field of the last row of the last answer.

    Raises Refused. Transactions are the text's own affair: psycopg begins none.
    """
    try:
        with connection.lock:
            results = connection.wait(_exchange(connection, text))
    except psycopg.Error as error:
        raise Refused(Refusal.of(error)) from error
    for result in results:
        if result.status == ExecStatus.FATAL_ERROR:
            refused = error_from_result(result, encoding=connection.info.encoding)
            done = sum(_word(each) == WORD for each in results)
            raise Refused(Refusal.of(refused, done=done)) from refused
    return _word(results[-1]) if results else None


def roll_back(connection: Connection) -> None:
    """End whatever transaction is open. One that cannot be ended is over with its session."""
    if connection.info.transaction_status in {TransactionStatus.INTRANS, TransactionStatus.INERROR}:
        try:
            send(connection, "ROLLBACK")
        except Refused:
            connection.close()


def _exchange(connection: Connection, text: str) -> PQGen[list[PGresult]]:
    connection.pgconn.send_query(text.encode())
    results: list[PGresult] = yield from generators.execute(connection.pgconn)
    return results


def _word(result: PGresult) -> str | None:
    if result.status != ExecStatus.TUPLES_OK or not result.ntuples or not result.nfields:
        return None
    value = result.get_value(result.ntuples - 1, 0)
    return None if value is None else bytes(value).decode()
