"""Whether the checks behind foreign keys may rest while the whole of a tenant goes from a pool.

# Note [Checks that would find nothing]
PostgreSQL looks behind each deleted row whether another still refers to it: five sixths of the time that a pool
tenant's rows take. Where tables go leaves first there is nothing to be found, provided that whatever refers to a table
is emptied before, and that a key leads to rows of one's own tenant alone. Then `session_replication_role` lets those
checks rest for a transaction (PostgreSQL 18, "Client Connection Defaults"). It lets triggers and rules of the
application rest as well, so where there is one, or a reference that leads in from elsewhere or without the tenant, all
checks are made. The right to set the parameter is a superuser's to lend, once a server; without it they are, too.
No Django in here: the embedded stack reads this before there are settings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from psycopg import sql

if TYPE_CHECKING:
    from provisioning.databases.servers import Connection

PARAMETER = "session_replication_role"
IS_LENT = "SELECT has_parameter_privilege(%s, 'SET')"

_NOTHING_WATCHES = """
    WITH ours AS (
        SELECT c.oid, a.attnum FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = %(column)s
        WHERE c.relnamespace = to_regnamespace(%(schema)s) AND c.relname = ANY (%(tables)s)
    )
    SELECT NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid IN (SELECT oid FROM ours) AND NOT tgisinternal)
        AND NOT EXISTS (SELECT FROM pg_rewrite WHERE ev_class IN (SELECT oid FROM ours))
        AND NOT EXISTS (
            SELECT FROM pg_constraint k JOIN ours referred ON referred.oid = k.confrelid
            LEFT JOIN ours referring ON referring.oid = k.conrelid
            WHERE k.contype = 'f' AND (referring.oid IS NULL OR NOT EXISTS (
                SELECT FROM unnest(k.conkey, k.confkey) AS pair (own, other)
                WHERE pair.own = referring.attnum AND pair.other = referred.attnum
            ))
        )
"""


def lend(role: str) -> sql.Composed:
    """The statement for a superuser, once a server: the provisioning role may let checks rest."""
    return sql.SQL("GRANT SET ON PARAMETER {} TO {}").format(sql.Identifier(PARAMETER), sql.Identifier(role))


def may_rest(connection: Connection, schema: str, tables: Sequence[str], *, column: str) -> bool:
    """Whether no check would find anything when the rows with one value in `column` go from these, leaves first."""
    ((lent,),) = connection.execute(IS_LENT, (PARAMETER,)).fetchall()
    if not lent:
        return False
    given = {"schema": schema, "tables": list(tables), "column": column}
    ((free,),) = connection.execute(_NOTHING_WATCHES, given).fetchall()
    return bool(free)


@contextmanager
def resting(connection: Connection) -> Iterator[None]:
    """They rest for what is deleted in here, in a transaction of the caller's, as the role that was lent the right.

    Nothing is put back after an error: the transaction is over.
    """
    connection.execute(f"SET LOCAL {PARAMETER} = replica")
    yield
    connection.execute(f"SET LOCAL {PARAMETER} = origin")
