"""Connections of the verifier's own to the control and keyring databases: read-only, and as another role.

Values are bound on the server, as psycopg does by itself: what is searched for shows in no list of statements.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import psycopg
from django.conf import settings

from provisioning.errors import Transient

Connection: TypeAlias = psycopg.Connection[Any]
OPTIONS = "-c default_transaction_read_only=on -c row_security=off -c statement_timeout=60s -c timezone=UTC"


class VerifierBlind(Transient):
    """The verifier's own connection (VERIFIER_URL, KEYRING_VERIFIER_URL) fails."""

    code = "VERIFIER_BLIND"


@contextmanager
def looking_into(url: str) -> Iterator[Connection]:
    """One connection in autocommit. Raises VerifierBlind for whatever the database answers but rows."""
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=5, options=OPTIONS) as connection:
            yield connection
    except psycopg.Error as error:  # its text may hold a row
        raise VerifierBlind(f"The verifier's look at a database failed: {type(error).__name__}.") from None


def is_runtime(connection: Connection, alias: str) -> bool:
    """Whether it is the role that erases, which proves nothing."""
    (role,) = connection.execute("SELECT current_user").fetchone() or ("",)
    return bool(role == settings.DATABASES[alias]["USER"])


def unreadable(connection: Connection) -> list[str]:
    """Tables of `public` that this role may not read, or not whole."""
    rows = connection.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'm')"
        " AND (NOT has_table_privilege(oid, 'SELECT') OR row_security_active(oid)) ORDER BY 1"
    )
    return [name for (name,) in rows]
