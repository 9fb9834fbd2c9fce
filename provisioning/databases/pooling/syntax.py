"""SQL text as PostgreSQL's own parser reads it, and back."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from postgast import PgQueryError, deparse, parse
from postgast import pg_query_pb2 as tree
from psycopg import sql

from provisioning.databases.pooling.errors import CannotPool

Node = Any  # one of the message classes of postgast.pg_query_pb2


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement: its text as written, its class of PostgreSQL's grammar (`create_stmt`, …), and its tree."""

    text: str
    kind: str
    node: Node

    def refuse(self, reason: str, instead: str) -> CannotPool:
        return CannotPool(self.text, reason, instead)


def statements(text: str) -> Iterator[Statement]:
    """Each statement of a text. Raises CannotPool when PostgreSQL's grammar does not know it."""
    try:
        parsed = parse(text)
    except PgQueryError as error:
        raise CannotPool(text, f"PostgreSQL cannot read it: {error}.", "Write it as PostgreSQL 18 reads it.") from error
    raw = text.encode()  # positions are bytes
    for each in parsed.stmts:
        end = each.stmt_location + each.stmt_len if each.stmt_len else len(raw)
        kind = each.stmt.WhichOneof("node")
        yield Statement(raw[each.stmt_location : end].decode().strip(), kind, getattr(each.stmt, kind))


def written(statement: Statement, node: Node) -> str:
    """The text of a changed tree.

    Read again and compared, so that nothing gets lost on the way: raises CannotPool when the text means another tree.
    """
    made = tree.ParseResult()
    getattr(made.stmts.add().stmt, statement.kind).CopyFrom(node)
    try:
        text = deparse(made)
        again = parse(text)
    except PgQueryError as error:
        raise statement.refuse(f"It cannot be written back: {error}.", "Write it in a plainer form.") from error
    if _without_places(again.stmts[0].stmt) != _without_places(made.stmts[0].stmt):
        raise statement.refuse("It reads differently once it is written back.", "Write it in a plainer form.")
    return str(text)


def name(text: str) -> Node:
    """A name as lists of the tree hold it."""
    return tree.Node(string=tree.String(sval=text))


def definition(command: Node) -> Node:
    """What one ALTER TABLE command brings; the field's name is a word of Python."""
    return getattr(command, "def")


def names(nodes: Any) -> list[str]:
    return [node.string.sval for node in nodes]


def quoted(relation: Node) -> str:
    """The name of a relation as SQL, with its schema if it was written with one."""
    return ".".join(
        f'"{part.replace(chr(34), chr(34) * 2)}"' for part in (relation.schemaname, relation.relname) if part
    )


def literal(text: str) -> str:
    return sql.Literal(text).as_string()


def walk(node: Node) -> Iterator[Node]:
    """The messages inside one, itself first."""
    yield node
    for field, value in node.ListFields():
        if field.message_type is not None:
            for each in value if field.is_repeated else (value,):
                yield from walk(each)


def _without_places(node: Node) -> Node:
    """A copy that does not tell where in the text each part stood."""
    copy = type(node)()
    copy.CopyFrom(node)
    for each in walk(copy):
        for field in (
            "location",
            "stmt_location",
            "stmt_len",
            "list_start",
            "list_end",
            "rexpr_list_start",
            "rexpr_list_end",
        ):
            if field in each.DESCRIPTOR.fields_by_name:
                each.ClearField(field)
    return copy
