"""The words of weighing: PostgreSQL's lock modes, and what one statement does to one table."""

from collections.abc import Iterator
from dataclasses import dataclass

from postgast import pg_query_pb2 as tree

from provisioning.databases.pooling.syntax import Node

ROW_EXCLUSIVE = "ROW EXCLUSIVE"
SHARE_UPDATE_EXCLUSIVE = "SHARE UPDATE EXCLUSIVE"
SHARE = "SHARE"
SHARE_ROW_EXCLUSIVE = "SHARE ROW EXCLUSIVE"
EXCLUSIVE = "EXCLUSIVE"
ACCESS_EXCLUSIVE = "ACCESS EXCLUSIVE"


@dataclass(frozen=True, slots=True)
class Weight:
    """The lock that a statement takes on a table, and whether it writes all of it anew or reads all of it."""

    table: str
    lock: str
    rewrites: bool
    scans: bool
    why: str


def called(relation: Node) -> str:
    return str(relation.relname)


def referenced(constraint: Node, *, scans: bool) -> Iterator[Weight]:
    """The other table of a foreign key."""
    if constraint.contype == tree.CONSTR_FOREIGN:
        why = "A foreign key leads here."
        yield Weight(called(constraint.pktable), SHARE_ROW_EXCLUSIVE, rewrites=False, scans=scans, why=why)
