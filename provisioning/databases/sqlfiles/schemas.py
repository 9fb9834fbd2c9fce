"""Which schemas and tables a statement names, as far as its grammar tells: what is in a string, nobody can say."""

from collections.abc import Iterator

from postgast import pg_query_pb2 as tree

from provisioning.databases.pooling.boundary import SHARED_TABLES
from provisioning.databases.pooling.syntax import Node, Statement, names, walk

KEPT_TABLES = SHARED_TABLES

_EVERYBODYS = frozenset({"pg_catalog", "information_schema", "pg_temp"})
# Lists of the grammar that hold a name, with its schema before it where one is written.
_QUALIFIED = frozenset(
    {"funcname", "objname", "collname", "defnames", "type_name", "domainname", "opclass", "collation", "name"}
)
_PARTS = {  # how many words a name has without a schema
    tree.OBJECT_COLUMN: 2,
    tree.OBJECT_TRIGGER: 2,
    tree.OBJECT_RULE: 2,
    tree.OBJECT_POLICY: 2,
    tree.OBJECT_TABCONSTRAINT: 2,
}


def schemas_named(statement: Statement) -> Iterator[str]:
    """Those that are not everybody's."""
    for found in _schemas(statement):
        if found and found not in _EVERYBODYS:
            yield found


def tables_named(statement: Statement) -> Iterator[str]:
    for node in walk(statement.node):
        if isinstance(node, tree.RangeVar):
            yield node.relname
    if statement.kind == "drop_stmt":
        for each in statement.node.objects:
            yield from names(each.list.items)


def _schemas(statement: Statement) -> Iterator[str]:
    for node in walk(statement.node):
        if isinstance(node, tree.RangeVar):
            yield from (node.catalogname, node.schemaname)
        elif isinstance(node, tree.ColumnRef):
            yield from _before(node.fields, 2)
        elif isinstance(node, tree.TypeName):
            yield from _before(node.names, 2 if node.pct_type else 1)  # table.column%TYPE
        elif isinstance(node, tree.VariableSetStmt) and node.name == "search_path":
            yield from (each.a_const.sval.sval for each in node.args)
        else:
            for field, value in node.ListFields():
                if field.is_repeated and field.name in _QUALIFIED:
                    yield from _before(value, 1)
    yield from _of_object(statement)


def _of_object(statement: Statement) -> Iterator[str]:
    """DROP, COMMENT and ALTER … RENAME, whose names are lists of words; what the words are, the kind of object says."""
    node = statement.node
    match statement.kind:
        case "drop_stmt":
            for each in node.objects:
                yield from _before(each.list.items, _PARTS.get(node.remove_type, 1))
        case "comment_stmt":
            yield from _before(node.object.list.items, _PARTS.get(node.objtype, 1))
        case "rename_stmt":
            yield from _before(node.object.list.items, _PARTS.get(node.rename_type, 1))
        case _:
            pass


def _before(nodes: Node, parts: int) -> list[str]:
    """What is written before the last words."""
    words = names(nodes)
    return words[: max(0, len(words) - parts)]
