"""Run compiled statements in a scratch database as the owner, and look at the catalog they leave."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

from provisioning.databases import ddl
from provisioning.databases.pooling.catalog import BARRED, faults
from provisioning.databases.pooling.errors import CannotPool
from provisioning.databases.servers import Connection, run

Refusal = dict[str, str]

REPORT = "Place its tenants in the schema or database tier, and report this: the compiler should have known."
SAID = 5  # lines of a difference that a refusal quotes
# The check is planned once, not once a migration; what is run otherwise may be several statements, which cannot be.
_WHEN_ASKED = 1_000_000_000  # times a text is sent before psycopg prepares it unasked
# A refused statement of the application's, as opposed to a server that does not answer.
REFUSED_BY_SERVER = (
    psycopg.ProgrammingError,
    psycopg.IntegrityError,
    psycopg.DataError,
    psycopg.NotSupportedError,
)
# The policies of this database need something to name. It lets nobody in: there are no rows to ask for.
_GUARD_STUB = f"""
    CREATE SCHEMA IF NOT EXISTS {ddl.GUARD};
    CREATE OR REPLACE FUNCTION {ddl.GUARD}.tenant() RETURNS uuid
        LANGUAGE sql STABLE PARALLEL RESTRICTED RETURN NULL::uuid;
    ALTER DEFAULT PRIVILEGES FOR ROLE {ddl.OWNER} REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
    GRANT USAGE ON SCHEMA {ddl.GUARD} TO {ddl.OWNER};
    GRANT EXECUTE ON FUNCTION {ddl.GUARD}.tenant TO {ddl.OWNER};
"""


def put_up_guard(connection: Connection) -> None:
    """What stands for the guard in a scratch database. Safe to run again."""
    run(connection, _GUARD_STUB)


@contextmanager
def as_owner(connection: Connection) -> Iterator[None]:
    run(connection, sql.SQL("SET ROLE {}; SET check_function_bodies = off").format(sql.Identifier(ddl.OWNER)))
    try:
        yield
    finally:
        run(connection, "RESET ROLE; RESET check_function_bodies; RESET search_path")


@contextmanager
def inside(connection: Connection, schema: str) -> Iterator[None]:
    """Names are looked up in this schema."""
    run(connection, sql.SQL("SET search_path = {}").format(sql.Identifier(schema)))
    usual, connection.prepare_threshold = connection.prepare_threshold, _WHEN_ASKED
    try:
        yield
    finally:
        connection.prepare_threshold = usual
    run(connection, "SET search_path = pg_catalog")


def execute(connection: Connection, text: str, name: str) -> None:
    """Of the migration of this name. Raises CannotPool if the server refuses the statement."""
    try:
        run(connection, text)
    except REFUSED_BY_SERVER as error:
        said = error.diag.message_primary or str(error)
        raise CannotPool(text, f"{name}: PostgreSQL refuses it in a pool: {said}.", REPORT) from error


def refuse_faults(connection: Connection, schema: str, name: str) -> None:
    """After the migration of this name. Raises CannotPool."""
    for fault in faults(connection, schema):
        if fault.severity in BARRED:
            subject, message, hint = (
                text.replace(f"{schema}.", "") for text in (fault.subject, fault.message, fault.hint)
            )
            raise CannotPool(subject, f"{name}: {message}", hint)


def row(refusal: CannotPool) -> Refusal:
    """As a release and a path keep it."""
    return {"statement": refusal.statement, "reason": refusal.reason, "instead": refusal.instead}
