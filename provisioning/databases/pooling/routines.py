"""Views, triggers, functions and procedures.

# Note [Code in a pool runs as whoever calls it]
A function body is text to PostgreSQL until it runs, and it then runs with the rights and under the row security of its
caller. That holds for whatever the body does, dynamic statements too, so bodies are not searched for harm. What is
refused is what would step out of it (SECURITY DEFINER, LEAKPROOF, SET of a role or of our settings), languages that
row security does not hold, and one form that cannot work: ON CONFLICT with columns, since no unique index is over
them alone.
"""

from collections.abc import Iterator

from postgast import PgQueryError, parse, scan
from postgast import pg_query_pb2 as tree

from provisioning.databases.pooling.names import Names
from provisioning.databases.pooling.syntax import Node, Statement, walk, written

_LANGUAGES = frozenset({"sql", "plpgsql"})
_HARMLESS_SETTINGS = frozenset(
    {"search_path", "statement_timeout", "lock_timeout", "work_mem", "timezone", "datestyle", "intervalstyle"}
)
INVOKER = "security_invoker"


def viewed(statement: Statement, taken: Names) -> Iterator[str]:
    """A view that reads as whoever asks it, so that the policies of its tables hold."""
    made = tree.ViewStmt()
    made.CopyFrom(statement.node)
    if made.view.relpersistence == "t":
        raise statement.refuse("A temporary view belongs to one session.", "Leave TEMPORARY out.")
    if any(each.HasField("column_ref") and _is_star(each.column_ref) for each in _nodes(made.query)):
        raise statement.refuse("* would show the pool's own column as well.", "List the columns of the view.")
    _refuse_columns_of_conflict(statement, made.query)
    kept = [option for option in made.options if option.def_elem.defname != INVOKER]
    del made.options[:]
    made.options.extend(kept)
    made.options.append(parse(f"CREATE VIEW v WITH ({INVOKER}=true) AS SELECT 1").stmts[0].stmt.view_stmt.options[0])
    taken.take(made.view.relname)
    yield written(statement, made)


def routine(statement: Statement, _taken: Names) -> Iterator[str]:
    """A function or procedure, as it stands if it stays inside its caller's rights."""
    bodies: list[str] = []
    language = "sql"
    for option in (each.def_elem for each in statement.node.options):
        match option.defname:
            case "language":
                language = option.arg.string.sval
            case "as":
                bodies = [each.string.sval for each in option.arg.list.items]
            case _:
                _refuse_option(statement, option)
    if language not in _LANGUAGES:
        raise statement.refuse(f"The language {language} is not held by row security.", "Write it in PL/pgSQL or SQL.")
    if statement.node.HasField("sql_body"):
        _refuse_columns_of_conflict(statement, statement.node.sql_body)
    for body in bodies:
        _refuse_conflict_in_text(statement, body)
    yield statement.text


def routine_altered(statement: Statement, _taken: Names) -> Iterator[str]:
    for option in statement.node.actions:
        _refuse_option(statement, option.def_elem)
    yield statement.text


def _refuse_option(statement: Statement, option: Node) -> None:
    match option.defname:
        case "security" if option.arg.boolean.boolval:
            raise statement.refuse(
                "A SECURITY DEFINER function would run as the owner of every tenant's rows.",
                "Leave it out: it then runs as the tenant who calls it.",
            )
        case "leakproof" if option.arg.boolean.boolval:
            raise statement.refuse(
                "A LEAKPROOF function is shown rows before row security has looked at them.", "Leave LEAKPROOF out."
            )
        case "set" if (
            option.arg.variable_set_stmt.kind != tree.VAR_RESET
            and option.arg.variable_set_stmt.name.lower() not in _HARMLESS_SETTINGS
        ):
            raise statement.refuse(
                f"A function must not set {option.arg.variable_set_stmt.name} for itself.", "Leave the SET out."
            )
        case "support" | "transform" | "window":
            raise statement.refuse(f"{option.defname.upper()} is not known to be safe in a pool.", "Leave it out.")
        case _:
            pass


def _refuse_columns_of_conflict(statement: Statement, body: Node) -> None:
    if any(each.DESCRIPTOR.name == "InferClause" and not each.conname and each.index_elems for each in walk(body)):
        raise _conflict(statement)


def _refuse_conflict_in_text(statement: Statement, body: str) -> None:
    """A body in quotes, in whichever language: read as words, not as text, so that comments and strings say nothing."""
    try:
        words = scan(body).tokens
    except PgQueryError as error:
        raise statement.refuse(f"Its body cannot be read: {error}.", "Write it as PostgreSQL 18 reads it.") from error
    raw = body.encode()
    said = [
        raw[word.start : word.end].upper() for word in words if word.token not in {tree.SQL_COMMENT, tree.C_COMMENT}
    ]
    for first, second, third in zip(said, said[1:], said[2:], strict=False):
        if (first, second, third) == (b"ON", b"CONFLICT", b"("):
            raise _conflict(statement)


def _conflict(statement: Statement) -> Exception:
    return statement.refuse(
        "ON CONFLICT with columns finds no unique index in a pool: each begins with the tenant.",
        "Write ON CONFLICT ON CONSTRAINT with the constraint's name, which is the same everywhere.",
    )


def _is_star(reference: Node) -> bool:
    return any(each.HasField("a_star") for each in reference.fields)


def _nodes(root: Node) -> Iterator[Node]:
    return (each for each in walk(root) if each.DESCRIPTOR.name == "Node")
