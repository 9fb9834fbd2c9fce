"""Materialized views.

# Note [A pool keeps no copies of rows]
A materialized view holds the rows of whoever refreshed it, without row security. In a pool each one is a view: it has
the name and the columns that the application reads, shows each tenant its own rows, and is never behind. There is
nothing to refresh, and no index on it.
"""

from collections.abc import Iterator

from postgast import pg_query_pb2 as tree

from provisioning.databases.pooling.names import Names
from provisioning.databases.pooling.refusals import REFUSALS
from provisioning.databases.pooling.routines import viewed
from provisioning.databases.pooling.syntax import Statement, written
from provisioning.databases.pooling.verbatim import dropped


def made_of_query(statement: Statement, taken: Names) -> Iterator[str]:
    """CREATE MATERIALIZED VIEW; CREATE TABLE … AS is of the same class, and refused."""
    node = statement.node
    if node.objtype != tree.OBJECT_MATVIEW:
        raise statement.refuse(*REFUSALS["create_table_as_stmt"])
    made = tree.ViewStmt(replace=node.if_not_exists, with_check_option=tree.NO_CHECK_OPTION)
    made.view.CopyFrom(node.into.rel)
    made.aliases.extend(node.into.col_names)
    made.query.CopyFrom(node.query)
    taken.show(made.view.relname)
    yield from viewed(Statement(statement.text, "view_stmt", made), taken)


def refreshed(_statement: Statement, _taken: Names) -> Iterator[str]:
    """A view is never behind."""
    yield from ()


def dropped_of_any_kind(statement: Statement, taken: Names) -> Iterator[str]:
    if statement.node.remove_type != tree.OBJECT_MATVIEW:
        yield from dropped(statement, taken)
        return
    made = tree.DropStmt()
    made.CopyFrom(statement.node)
    made.remove_type = tree.OBJECT_VIEW
    yield written(statement, made)
