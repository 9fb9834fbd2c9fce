"""Plain DDL in, pooled DDL out.

Everything is decided by the class of a statement in PostgreSQL's grammar. A class that is not listed is refused: what
nobody has thought about is never passed through.
"""

from collections.abc import Callable, Iterable, Iterator

from provisioning.databases.pooling import altering, indexes, materialized, routines, tables, verbatim
from provisioning.databases.pooling.names import Names
from provisioning.databases.pooling.refusals import REFUSALS, UNKNOWN
from provisioning.databases.pooling.syntax import Statement, statements
from provisioning.databases.statements import Kind
from provisioning.models import Release

Pooler = Callable[[Statement, Names], Iterator[str]]

POOLERS: dict[str, Pooler] = {
    "create_stmt": tables.created,
    "alter_table_stmt": altering.altered,
    "index_stmt": indexes.indexed,
    "view_stmt": routines.viewed,
    "create_table_as_stmt": materialized.made_of_query,
    "refresh_mat_view_stmt": materialized.refreshed,
    "create_function_stmt": routines.routine,
    "alter_function_stmt": routines.routine_altered,
    "create_trig_stmt": verbatim.triggered,
    "create_seq_stmt": verbatim.sequence_made,
    "alter_seq_stmt": verbatim.sequence_altered,
    "create_enum_stmt": verbatim.as_it_stands,
    "alter_enum_stmt": verbatim.as_it_stands,
    "create_range_stmt": verbatim.as_it_stands,
    "composite_type_stmt": verbatim.as_it_stands,
    "create_domain_stmt": verbatim.as_it_stands,
    "alter_domain_stmt": verbatim.as_it_stands,
    "create_extension_stmt": verbatim.extended,
    "define_stmt": verbatim.defined,
    "create_stats_stmt": verbatim.as_it_stands,
    "alter_stats_stmt": verbatim.as_it_stands,
    "drop_stmt": materialized.dropped_of_any_kind,
    "rename_stmt": verbatim.renamed,
    "comment_stmt": verbatim.commented,
    "constraints_set_stmt": verbatim.as_it_stands,
    "lock_stmt": verbatim.as_it_stands,
    "variable_set_stmt": verbatim.setting_set,
}
# What reads or writes rows is run for each tenant, as that tenant, by others.
DATA = frozenset({"insert_stmt", "update_stmt", "delete_stmt", "merge_stmt", "select_stmt", "call_stmt", "copy_stmt"})


def compiled(
    text: str, *, taken: Callable[[], Iterable[str]] = tuple, views: Callable[[], Iterable[str]] = tuple
) -> str:
    """The schema statements of a text as a pool needs them; empty if it has none.

    `taken` tells the names of relations and constraints that are in the schema already, and is asked only if a name has
    to be chosen. Without it a key that was left unnamed may get a name that is taken, and PostgreSQL refuses it.
    `views` tells which relations of the schema are views: what was materialized elsewhere is one here, without indexes.
    Raises CannotPool. The text is to be run as the owner, in a session of the provisioning role.
    """
    names = Names(taken, views=views)
    return ";\n".join(part for statement in statements(text) for part in _pooled(statement, names))


def separated(text: str) -> list[tuple[Kind, str]]:
    """The statements of a text as they were written, each with its kind: schema is compiled, data runs per tenant."""
    return [(Kind.DATA if is_data(each) else Kind.SCHEMA, each.text) for each in statements(text)]


def compiled_script(release: Release) -> str:
    """A release's final shape for a pool; its placeholder stands for the schema's name. Raises CannotPool."""
    return compiled_dump(f"{release.script}\n{release.finish}", release.placeholder)


def compiled_dump(script: str, placeholder: str) -> str:
    """The same of a script that pg_dump wrote, which begins with making the schema."""
    names = Names(tuple, empty=True)
    return ";\n".join(
        part
        for statement in statements(script)
        for part in (
            [statement.text]
            if statement.kind == "create_schema_stmt" and statement.node.schemaname == placeholder
            else _pooled(statement, names)
        )
    )


def is_data(statement: Statement) -> bool:
    """Whether it reads or writes rows. SELECT … INTO makes a table."""
    return statement.kind in DATA and not (statement.kind == "select_stmt" and statement.node.HasField("into_clause"))


def _pooled(statement: Statement, names: Names) -> Iterator[str]:
    if is_data(statement):
        return
    pooler = POOLERS.get(statement.kind)
    if pooler is None:
        kind = "create_table_as_stmt" if statement.kind == "select_stmt" else statement.kind
        raise statement.refuse(*REFUSALS.get(kind, UNKNOWN))
    yield from pooler(statement, names)
