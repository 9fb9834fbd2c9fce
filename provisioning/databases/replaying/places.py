"""Where a target stands on a path: asked by whoever wants to know, and by each replay as its first act."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from psycopg import sql

from provisioning.databases.ddl import HOUSE, OWNER
from provisioning.databases.replaying import markers
from provisioning.databases.replaying.targets import Target
from provisioning.databases.replaying.walks import DIGEST, Walk, walk_of
from provisioning.databases.servers import Connection, run
from provisioning.models import ReleasePath

STANDING = f"SELECT {DIGEST} FROM {{schema}}.django_migrations"
_CHECK = f"SELECT {HOUSE}.depart('{{schema}}', '{{source}}', '{{target}}');\n"


class Stand(StrEnum):
    """SOURCE and TARGET: the ends of the path. BETWEEN: some stages are behind it. ELSEWHERE: not on this path."""

    SOURCE = "source"
    TARGET = "target"
    BETWEEN = "between"
    ELSEWHERE = "elsewhere"


@dataclass(frozen=True, slots=True)
class Place:
    """`done` of `total` stages are behind it; only BETWEEN is more than 0 and less than all."""

    stand: Stand
    done: int
    total: int


def where(connection: Connection, target: Target, path: ReleasePath) -> Place:
    """Look where the target stands. `connection` is one to its database. Raises psycopg errors."""
    return place(connection, target, walk_of(path, pooled=target.pooled))


def place(connection: Connection, target: Target, walk: Walk) -> Place:
    """The same of a path that is ready for walking."""
    total = len(walk.stages)
    if (marker := markers.of(connection, target.schema)) is not None:
        return Place(Stand.BETWEEN if marker.path == walk.path else Stand.ELSEWHERE, marker.done, total)
    match _standing(connection, target.schema):
        case found if found == walk.digests[0]:
            return Place(Stand.SOURCE, 0, total)
        case found if found == walk.digests[1]:
            return Place(Stand.TARGET, total, total)
        case _:
            return Place(Stand.ELSEWHERE, 0, total)


def check(walk: Walk) -> str:
    """The statement that ends the transaction, with one of our own error codes, unless the target is on the source.

    See departure.sql. In it the walk's placeholder stands for the schema.
    """
    source, target = walk.digests
    return _CHECK.format(schema=walk.placeholder, source=source, target=target)


def _standing(connection: Connection, schema: str) -> str:
    """Empty without the table."""
    if run(connection, "SELECT to_regclass(%s)", f"{schema}.django_migrations") == [(None,)]:
        return ""
    with connection.transaction():
        run(connection, sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(OWNER)))
        ((digest,),) = run(connection, sql.SQL(STANDING).format(schema=sql.Identifier(schema)))
    return str(digest)
