"""How heavy a statement is for whoever works in the same tables meanwhile: locks, rewrites, scans.

After PostgreSQL 18: "ALTER TABLE", "CREATE INDEX", "Explicit Locking", and AlterTableGetLockLevel. What depends on what
is in the tables (a type that is the same in binary, a CHECK that proves a NOT NULL) is taken for the worse, and said.
"""

from collections.abc import Callable, Iterator

from postgast import pg_query_pb2 as tree

from provisioning.databases.paths.altering import altered
from provisioning.databases.paths.weights import (
    ACCESS_EXCLUSIVE,
    EXCLUSIVE,
    ROW_EXCLUSIVE,
    SHARE,
    SHARE_ROW_EXCLUSIVE,
    SHARE_UPDATE_EXCLUSIVE,
    Weight,
    called,
    referenced,
)
from provisioning.databases.pooling.errors import CannotPool
from provisioning.databases.pooling.syntax import Statement, names, statements

_MODES = (
    "", "ACCESS SHARE", "ROW SHARE", ROW_EXCLUSIVE, SHARE_UPDATE_EXCLUSIVE, SHARE, SHARE_ROW_EXCLUSIVE, EXCLUSIVE,
    ACCESS_EXCLUSIVE,
)  # fmt: skip  # as lock_stmt numbers them
_RENAMED_INDEX = frozenset({tree.OBJECT_INDEX})
_OURS = "$tenure$"  # begins a block that the pool compiler wrote: it changes the role alone


def weigh(text: str) -> list[Weight]:
    """Each lock that the statements of a text take on tables that are there already, in order.

    Of a DROP INDEX the index is named, since the statement does not name its table. What nobody can read from the text
    (a DO block, a grammar newer than the parser's) has the lock "unknown". A new table is nobody's yet: no weight.
    """
    try:
        return [weight for each in statements(text) for weight in _weighed(each)]
    except CannotPool:
        return [Weight("", "unknown", rewrites=False, scans=False, why="Its grammar is not known here.")]


def made_by(text: str) -> set[str]:
    """The tables that a text makes: in the transaction that makes them nobody waits for them."""
    try:
        return {called(each.node.relation) for each in statements(text) if each.kind == "create_stmt"}
    except CannotPool:
        return set()


def _weighed(statement: Statement) -> Iterator[Weight]:
    if (weigher := _WEIGHERS.get(statement.kind)) is not None:
        yield from weigher(statement)


def _index_made(statement: Statement) -> Iterator[Weight]:
    node = statement.node
    lock = SHARE_UPDATE_EXCLUSIVE if node.concurrent else SHARE
    why = "Reads the table twice while others write." if node.concurrent else "Writers wait until the index is built."
    yield Weight(called(node.relation), lock, rewrites=False, scans=True, why=why)


def _table_made(statement: Statement) -> Iterator[Weight]:
    for element in statement.node.table_elts:
        if element.WhichOneof("node") == "column_def":
            for each in element.column_def.constraints:
                yield from referenced(each.constraint, scans=False)
        elif element.WhichOneof("node") == "constraint":
            yield from referenced(element.constraint, scans=False)


def _dropped(statement: Statement) -> Iterator[Weight]:
    node = statement.node
    for each in node.objects:
        match node.remove_type:
            case tree.OBJECT_TABLE | tree.OBJECT_VIEW | tree.OBJECT_MATVIEW | tree.OBJECT_SEQUENCE:
                yield _short(names(each.list.items)[-1], ACCESS_EXCLUSIVE, "It goes.")
            case tree.OBJECT_INDEX:
                lock = SHARE_UPDATE_EXCLUSIVE if node.concurrent else ACCESS_EXCLUSIVE
                yield _short(names(each.list.items)[-1], lock, "The table of this index is locked.")
            case tree.OBJECT_TRIGGER | tree.OBJECT_POLICY | tree.OBJECT_RULE:
                yield _short(names(each.list.items)[-2], ACCESS_EXCLUSIVE, "What belongs to it goes.")
            case _:
                pass


def _renamed(statement: Statement) -> Iterator[Weight]:
    node = statement.node
    if node.relation.relname:
        lock = SHARE_UPDATE_EXCLUSIVE if node.rename_type in _RENAMED_INDEX else ACCESS_EXCLUSIVE
        yield _short(called(node.relation), lock, "A name changes.")


def _triggered(statement: Statement) -> Iterator[Weight]:
    yield _short(called(statement.node.relation), SHARE_ROW_EXCLUSIVE, "A trigger is added.")


def _guarded(statement: Statement) -> Iterator[Weight]:
    yield _short(called(statement.node.table), ACCESS_EXCLUSIVE, "A policy changes.")


def _refreshed(statement: Statement) -> Iterator[Weight]:
    node = statement.node
    lock = EXCLUSIVE if node.concurrent else ACCESS_EXCLUSIVE
    yield Weight(called(node.relation), lock, rewrites=True, scans=True, why="It is filled anew.")


def _emptied(statement: Statement) -> Iterator[Weight]:
    for each in statement.node.relations:
        yield _short(called(each.range_var), ACCESS_EXCLUSIVE, "It is emptied.")


def _locked(statement: Statement) -> Iterator[Weight]:
    for each in statement.node.relations:
        yield _short(called(each.range_var), _MODES[statement.node.mode], "The migration asks for it.")


def _sequence_altered(statement: Statement) -> Iterator[Weight]:
    yield _short(called(statement.node.sequence), SHARE_ROW_EXCLUSIVE, "A sequence changes.")


def _counted(statement: Statement) -> Iterator[Weight]:
    for each in statement.node.relations:
        yield _short(called(each.range_var), SHARE_UPDATE_EXCLUSIVE, "Statistics are declared.")


def _commented(statement: Statement) -> Iterator[Weight]:
    parts = names(statement.node.object.list.items)
    match statement.node.objtype:
        case tree.OBJECT_TABLE:
            yield _short(parts[-1], SHARE_UPDATE_EXCLUSIVE, "A comment.")
        case tree.OBJECT_COLUMN:
            yield _short(parts[-2], SHARE_UPDATE_EXCLUSIVE, "A comment.")
        case _:
            pass


def _written(statement: Statement) -> Iterator[Weight]:
    """Rows. Others read on; who changes the same row waits."""
    scans = statement.kind != "insert_stmt"
    yield Weight(called(statement.node.relation), ROW_EXCLUSIVE, rewrites=False, scans=scans, why="Rows are changed.")


def _reorganised(statement: Statement) -> Iterator[Weight]:
    yield Weight(
        called(statement.node.relation), ACCESS_EXCLUSIVE, rewrites=True, scans=True, why="The table is written anew."
    )


def _reindexed(statement: Statement) -> Iterator[Weight]:
    yield Weight(called(statement.node.relation), SHARE, rewrites=False, scans=True, why="Indexes are built anew.")


def _done(statement: Statement) -> Iterator[Weight]:
    if _OURS not in statement.text:
        yield Weight("", "unknown", rewrites=False, scans=False, why="What a DO block does is only seen when it runs.")


def _short(table: str, lock: str, why: str) -> Weight:
    return Weight(table, lock, rewrites=False, scans=False, why=why)


_WEIGHERS: dict[str, Callable[[Statement], Iterator[Weight]]] = {
    "alter_table_stmt": altered,
    "index_stmt": _index_made,
    "create_stmt": _table_made,
    "drop_stmt": _dropped,
    "rename_stmt": _renamed,
    "create_trig_stmt": _triggered,
    "create_policy_stmt": _guarded,
    "alter_policy_stmt": _guarded,
    "refresh_mat_view_stmt": _refreshed,
    "truncate_stmt": _emptied,
    "lock_stmt": _locked,
    "alter_seq_stmt": _sequence_altered,
    "create_stats_stmt": _counted,
    "comment_stmt": _commented,
    "insert_stmt": _written,
    "update_stmt": _written,
    "delete_stmt": _written,
    "merge_stmt": _written,
    "cluster_stmt": _reorganised,
    "reindex_stmt": _reindexed,
    "do_stmt": _done,
}
