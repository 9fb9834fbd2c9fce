"""A database to try something in, gone afterwards.

A database rather than a schema beside the tenants': a migration that names other schemas, installs an extension or
writes to `public` then meets nobody, and is found out before anything of it is copied.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import sql
from psycopg.conninfo import make_conninfo

from provisioning.databases import ddl
from provisioning.databases.layout import create_like_shared
from provisioning.databases.servers import Connection, connect, run, url_of
from provisioning.errors import Permanent
from tenants.models import Cluster


class NoOpenCluster(Permanent):
    """There is no open cluster to migrate the blueprint on."""

    code = "NO_OPEN_CLUSTER"
    cure = "Register one with `manage.py register_cluster`, or open one in the admin."


def workshop() -> Cluster:
    """The cluster where releases are made. Raises NoOpenCluster."""
    cluster = Cluster.objects.filter(state=Cluster.State.OPEN).order_by("created_at", "name").first()
    if cluster is None:
        raise NoOpenCluster
    return cluster


@contextmanager
def scratch(connection: Connection, cluster: Cluster, name: str) -> Iterator[tuple[Connection, str]]:
    """A connection to an empty database of this name, owned by the owner role, and its URL.

    Only one process may do so with one name at a time; what a killed one left is dropped.
    """
    run(connection, ddl.drop_database(name))
    create_like_shared(connection, name, owner=ddl.OWNER)
    try:
        with connect(cluster, database=name) as inside:
            run(inside, "REVOKE ALL ON SCHEMA public FROM PUBLIC")
            yield inside, make_conninfo(url_of(cluster), dbname=name)
    finally:
        if not connection.closed:
            run(connection, ddl.drop_database(name))


def make_schema(connection: Connection, name: str) -> None:
    """An empty one, the owner's."""
    named = sql.Identifier(name), sql.Identifier(ddl.OWNER)
    run(connection, sql.SQL("CREATE SCHEMA {} AUTHORIZATION {}").format(*named))


def set_aside(connection: Connection, name: str) -> None:
    """Let another schema have its name."""
    named = sql.Identifier(name), sql.Identifier(f"{name}_z")
    run(connection, sql.SQL("ALTER SCHEMA {} RENAME TO {}").format(*named))
