"""How far a tenants' database has heard of the ledger of erasures: one number in our own schema.

A backup takes it along, so a database that was restored from one says by itself that it is older than an erasure. See
provisioning/erasure/ledger.py.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import sql

from provisioning.databases.ddl import HOUSE
from provisioning.databases.servers import Connection, connect, run, server_errors, session
from tenants.models import Cluster

TABLE = f"{HOUSE}.ledger_mark"
_THERE = f"SELECT to_regclass('{TABLE}') IS NOT NULL"
_READ = f"SELECT certified FROM {TABLE}"
_MAKE = sql.SQL(
    """
    CREATE SCHEMA IF NOT EXISTS {house};
    CREATE TABLE IF NOT EXISTS {house}.ledger_mark (
        one boolean PRIMARY KEY DEFAULT true CHECK (one), certified bigint NOT NULL);
    """
).format(house=sql.Identifier(HOUSE))
_RAISE = f"""
    INSERT INTO {TABLE} (certified) VALUES (%s)
    ON CONFLICT (one) DO UPDATE SET certified = greatest({TABLE}.certified, excluded.certified)
"""
_ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtextextended('tenure: the mark of the ledger', 0))"


def mark_of(cluster: Cluster, database: str) -> int | None:
    """The number in this database; 0 where none was ever written, None where there is no such database any more.

    Raises ServerUnavailable, ServerRefused.
    """
    with _inside(cluster, database) as connection:
        return None if connection is None else _read(connection)


def raise_mark(cluster: Cluster, database: str, certified: int) -> None:
    """Write the number, unless a higher one or no such database is there. Raises ServerUnavailable, ServerRefused."""
    with _inside(cluster, database) as connection:
        if connection is not None:
            _raise(connection, certified)


@contextmanager
def _inside(cluster: Cluster, database: str) -> Iterator[Connection | None]:
    """A session on it. None: it is gone, which only the server's list of databases can tell from being away."""
    with session(cluster) as shared:
        if database == cluster.database:
            yield shared
        elif not run(shared, "SELECT 1 FROM pg_database WHERE datname = %s", database):
            yield None
        else:
            with server_errors(cluster.name), connect(cluster, database=database) as connection:
                yield connection


def _read(connection: Connection) -> int:
    if run(connection, _THERE) == [(False,)]:
        return 0
    found = run(connection, _READ)
    return int(found[0][0]) if found else 0


def _raise(connection: Connection, certified: int) -> None:
    with connection.transaction():
        run(connection, _ONE_AT_A_TIME)
        if run(connection, _THERE) == [(False,)]:
            run(connection, _MAKE)
        run(connection, _RAISE, certified)
