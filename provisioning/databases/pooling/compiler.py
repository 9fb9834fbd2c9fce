"""Plain DDL in, pooled DDL out.

Everything is decided by the class of a statement in PostgreSQL's grammar. A class that is not listed is refused: what
nobody has thought about is never passed through.
"""

from collections.abc import Callable, Collection, Iterator

from provisioning.databases.pooling import tables
from provisioning.databases.pooling.names import Names
from provisioning.databases.pooling.syntax import Statement, statements
from provisioning.models import Release

Pooler = Callable[[Statement, Names], Iterator[str]]

POOLERS: dict[str, Pooler] = {
    "create_stmt": tables.created,
}
# What reads or writes rows is run for each tenant, as that tenant, by others.
DATA = frozenset({"insert_stmt", "update_stmt", "delete_stmt", "merge_stmt", "select_stmt", "call_stmt", "copy_stmt"})


def compiled(text: str, *, taken: Collection[str] = ()) -> str:
    """The schema statements of a text as a pool needs them; empty if it has none.

    `taken` are the names of relations and constraints that are in the schema already: without them, an unnamed key
    whose name is taken gets it all the same, and PostgreSQL refuses it. Raises CannotPool.
    """
    names = Names(taken)
    return ";\n".join(part for statement in statements(text) for part in _pooled(statement, names))


def compiled_script(release: Release) -> str:
    """A release's final shape for a pool; its placeholder stands for the schema's name. Raises CannotPool."""
    return compiled(f"{release.script}\n{release.finish}")


def _pooled(statement: Statement, names: Names) -> Iterator[str]:
    if statement.kind in DATA:
        return
    pooler = POOLERS.get(statement.kind)
    if pooler is None:
        raise statement.refuse("It is not known to be safe in a pool.", "Leave it out of the migrations.")
    yield from pooler(statement, names)
