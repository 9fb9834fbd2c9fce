"""Statements that mean the same in a pool, and what they may name."""

from collections.abc import Iterable, Iterator

from postgast import pg_query_pb2 as tree

from provisioning.databases.pooling.boundary import SHARED_TABLES
from provisioning.databases.pooling.constraints import refuse_own
from provisioning.databases.pooling.names import Names
from provisioning.databases.pooling.refusals import REFUSALS
from provisioning.databases.pooling.syntax import Statement, names

_OWN = "Leave it out of the migrations: it belongs to the database, not to the application."
_KINDS = frozenset(
    {
        tree.OBJECT_TABLE,
        tree.OBJECT_INDEX,
        tree.OBJECT_SEQUENCE,
        tree.OBJECT_VIEW,
        tree.OBJECT_TYPE,
        tree.OBJECT_DOMAIN,
        tree.OBJECT_FUNCTION,
        tree.OBJECT_PROCEDURE,
        tree.OBJECT_ROUTINE,
        tree.OBJECT_TRIGGER,
        tree.OBJECT_COLLATION,
        tree.OBJECT_STATISTIC_EXT,
    }
)
_PARTS = frozenset({tree.OBJECT_COLUMN, tree.OBJECT_TABCONSTRAINT, tree.OBJECT_DOMCONSTRAINT, tree.OBJECT_ATTRIBUTE})
_SETTINGS = frozenset(
    {
        "lock_timeout",
        "statement_timeout",
        "idle_in_transaction_session_timeout",
        "maintenance_work_mem",
        "work_mem",
        "client_min_messages",
        "check_function_bodies",
    }
)


def as_it_stands(statement: Statement, _taken: Names) -> Iterator[str]:
    yield statement.text


def triggered(statement: Statement, _taken: Names) -> Iterator[str]:
    """CREATE TRIGGER. One on a shared table would run in our hands, not in a tenant's."""
    _refuse_shared(statement, (statement.node.relation.relname,))
    yield statement.text


def dropped(statement: Statement, taken: Names) -> Iterator[str]:
    _refuse_other_kinds(statement, statement.node.remove_type, _KINDS)
    mentioned = [each for item in statement.node.objects for each in names(item.list.items)]
    _refuse_shared(statement, mentioned)
    for name in mentioned:
        taken.free(name)
    yield statement.text


def renamed(statement: Statement, taken: Names) -> Iterator[str]:
    node = statement.node
    _refuse_other_kinds(statement, node.rename_type, _KINDS | _PARTS)
    _refuse_shared(statement, (node.relation.relname, node.newname))
    refuse_own(statement, (node.subname, node.newname))
    if node.rename_type != tree.OBJECT_COLUMN:
        taken.free(node.subname or node.relation.relname)
        taken.take(node.newname)
    yield statement.text


def commented(statement: Statement, _taken: Names) -> Iterator[str]:
    _refuse_other_kinds(statement, statement.node.objtype, _KINDS | _PARTS)
    yield statement.text


def extended(statement: Statement, _taken: Names) -> Iterator[str]:
    """CREATE EXTENSION: PL/pgSQL is in every database already, so nothing is left to do for it."""
    if not (statement.node.extname == "plpgsql" and statement.node.if_not_exists):
        raise statement.refuse(*REFUSALS["create_extension_stmt"])
    yield from ()


def sequence_made(statement: Statement, taken: Names) -> Iterator[str]:
    if statement.node.sequence.relpersistence == "t":
        raise statement.refuse("A temporary sequence belongs to one session.", "Leave TEMPORARY out.")
    taken.take(statement.node.sequence.relname)
    yield statement.text


def sequence_altered(statement: Statement, _taken: Names) -> Iterator[str]:
    if any(option.def_elem.defname == "restart" for option in statement.node.options):
        raise statement.refuse(
            "A pool's tenants share each sequence, so it must never go back.",
            "Raise it in a data migration with setval(…), or leave it.",
        )
    yield statement.text


def setting_set(statement: Statement, _taken: Names) -> Iterator[str]:
    node = statement.node
    if node.name not in _SETTINGS:
        raise statement.refuse(
            f"The setting {node.name or 'ALL'} is not the application's while it is migrated.", "Leave it out."
        )
    yield statement.text


def defined(statement: Statement, _taken: Names) -> Iterator[str]:
    """CREATE COLLATION; the other statements of this class make operators, aggregates and text search parts."""
    if statement.node.kind != tree.OBJECT_COLLATION:
        raise statement.refuse("It is not known to be safe in a pool.", "Leave it out of the migrations.")
    yield statement.text


def _refuse_other_kinds(statement: Statement, kind: int, known: frozenset[int]) -> None:
    if kind not in known:
        what = tree.ObjectType.Name(kind).removeprefix("OBJECT_").replace("_", " ").lower()
        raise statement.refuse(f"A pool's application has no {what} of its own.", _OWN)


def _refuse_shared(statement: Statement, mentioned: Iterable[str]) -> None:
    if found := SHARED_TABLES.intersection(mentioned):
        raise statement.refuse(f"{min(found)} is shared by the tenants of a pool.", "Leave it as it is.")
