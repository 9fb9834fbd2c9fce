"""How far a tenants' database has heard of the ledger of erasures: one number in our own schema.

A backup takes it along, so a database that was restored from one says by itself that it is older than an erasure. See
provisioning/erasure/ledger.py.
"""

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


def mark_of(cluster: Cluster, database: str) -> int:
    """The number in this database; 0 where none was ever written. Raises ServerUnavailable, ServerRefused."""
    if database == cluster.database:
        with session(cluster) as connection:
            return _read(connection)
    with server_errors(cluster.name), connect(cluster, database=database) as connection:
        return _read(connection)


def raise_mark(cluster: Cluster, database: str, certified: int) -> None:
    """Write the number, unless a higher one is there. Raises ServerUnavailable, ServerRefused."""
    if database == cluster.database:
        with session(cluster) as connection:
            _raise(connection, certified)
        return
    with server_errors(cluster.name), connect(cluster, database=database) as connection:
        _raise(connection, certified)


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
