"""CREATE TABLE and ALTER TABLE."""

from collections.abc import Iterator

from postgast import parse
from postgast import pg_query_pb2 as tree

from provisioning.databases.pooling.boundary import COLUMN, SHARED_TABLES, TENANT_ID, closed
from provisioning.databases.pooling.constraints import in_naming_order, merged, pooled, refuse_own, taken_out
from provisioning.databases.pooling.names import Names
from provisioning.databases.pooling.syntax import Node, Statement, quoted, written


def created(statement: Statement, taken: Names) -> Iterator[str]:
    """A table with the tenant's column, its keys led by it, closed by row security."""
    made = tree.CreateStmt()
    made.CopyFrom(statement.node)
    table = made.relation.relname
    taken.take(table)
    if table in SHARED_TABLES:
        yield statement.text
        return
    _refuse_unlike_a_plain_table(statement, made)
    columns, constraints = [], []
    for element in made.table_elts:
        match element.WhichOneof("node"):
            case "column_def":
                constraints += taken_out(element.column_def)
                columns.append(element)
            case "constraint":
                constraints.append(element.constraint)
            case _:
                raise statement.refuse("LIKE copies keys and columns of the pool.", "List the columns.")
    refuse_own(statement, (each.column_def.colname for each in columns))
    made.if_not_exists = False  # if it is there, it is not this one, and no policy may be made for it
    del made.table_elts[:]
    made.table_elts.extend((*columns, tree.Node(column_def=_tenant_column())))
    made.table_elts.extend(
        tree.Node(constraint=pooled(statement, table, each, taken)) for each in merged(in_naming_order(constraints))
    )
    yield written(statement, made)
    yield from closed(quoted(made.relation))


def _tenant_column() -> Node:
    return parse(f"CREATE TABLE t ({COLUMN})").stmts[0].stmt.create_stmt.table_elts[0].column_def


def _refuse_unlike_a_plain_table(statement: Statement, made: Node) -> None:
    if made.HasField("partspec") or made.HasField("partbound"):
        raise statement.refuse(
            "Row security is not inherited by partitions, and a pool is divided by tenants already.",
            "Make one plain table of it.",
        )
    if made.inh_relations:
        raise statement.refuse(
            "A table that inherits is read through its parent, past its own policy.",
            "Make it a table of its own, with a foreign key.",
        )
    if made.HasField("of_typename"):
        raise statement.refuse(f"A table of a type cannot gain {TENANT_ID}.", "List the columns.")
    if made.relation.relpersistence == "t":
        raise statement.refuse(
            "A temporary table belongs to one session, and a migration runs in another than its data.",
            "Use a common table expression in a data migration.",
        )
    if made.tablespacename or made.access_method:
        raise statement.refuse("Where and how a pool keeps its tables is not the application's.", "Leave it out.")
