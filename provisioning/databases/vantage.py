"""Where verifiers stand: a session that reads everything, writes nothing, and is told so rather than shown nothing.

`row_security = off` does not switch policies off: it turns their silent filtering into an error. So whoever was given
another role than the verifier's by mistake cannot count 0 where there are rows.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from psycopg import sql

from provisioning.databases.ddl import HOUSE, VERIFIER
from provisioning.databases.servers import Connection, Query, connect, run, server_errors
from tenants.models import Cluster

TIMEOUT = "120s"
CONTROL = (HOUSE, "control")
"""A table with one row that only who is past row security can see; in each database that holds tenants."""
CONTROL_TENANT = UUID("00000000-0000-4000-8000-000000000000")

# By id: a name would have to be found first, by somebody who may not be let into its schema.
_HIDDEN = """
    SELECT count(*) FROM pg_class c JOIN unnest(%(tables)s::oid[]) AS asked ON asked = c.oid
    WHERE row_security_active(c.oid) OR NOT has_table_privilege(c.oid, 'SELECT')
        OR NOT has_schema_privilege(c.relnamespace, 'USAGE')
"""
_CONTROL = """
    SELECT c.oid::bigint FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = %(schema)s AND c.relname = 'control'
"""


@contextmanager
def standing(cluster: Cluster, *, database: str | None = None, role: str | None = VERIFIER) -> Iterator[Connection]:
    """Inside, one read-only transaction as the verifier: all of its questions see the same moment.

    Raises ServerUnavailable, ServerRefused.
    """
    with (
        server_errors(cluster.name),
        connect(cluster, database=database, application="tenure: verifying") as connection,
        connection.transaction(),
    ):
        run(connection, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        if role is not None:  # None: as the provisioning role, for catalogs that are the guard's
            run(connection, sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))
        run(
            connection,
            sql.SQL("SET LOCAL row_security = off; SET LOCAL statement_timeout = {}").format(sql.Literal(TIMEOUT)),
        )
        yield connection


def ask(connection: Connection, question: Query, given: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """One question, its values bound on the server: a literal would show in the views of activity."""
    return connection.execute(question, given).fetchall()


def hidden(connection: Connection, tables: Sequence[int]) -> int:
    """How many of these tables (their ids) this session may not see all rows of."""
    ((number,),) = ask(connection, _HIDDEN, {"tables": list(tables)})
    return int(number)


def control_table(connection: Connection) -> int:
    """The id of CONTROL; 0 where it was never made."""
    found = ask(connection, _CONTROL, {"schema": HOUSE})
    return int(found[0][0]) if found else 0


def control_row_stands(cluster: Cluster) -> bool:
    """Whether CONTROL still has its one row, unchanged. Raises ServerUnavailable, ServerRefused."""
    with standing(cluster) as connection:
        found = ask(connection, sql.SQL("SELECT tenant_id FROM {}").format(sql.Identifier(*CONTROL)), {})
    return found == [(CONTROL_TENANT,)]
