"""The weight of ALTER TABLE: one statement takes the strongest lock that any of its commands asks for."""

from collections.abc import Iterator
from typing import NamedTuple

from postgast import pg_query_pb2 as tree

from provisioning.databases.paths.weights import (
    ACCESS_EXCLUSIVE,
    SHARE_ROW_EXCLUSIVE,
    SHARE_UPDATE_EXCLUSIVE,
    Weight,
    called,
    referenced,
)
from provisioning.databases.pooling.syntax import Node, Statement, definition, names, walk

_STRENGTH = (SHARE_UPDATE_EXCLUSIVE, SHARE_ROW_EXCLUSIVE, ACCESS_EXCLUSIVE)
_MILD = frozenset(
    {
        tree.AT_SetStatistics,
        tree.AT_SetOptions,
        tree.AT_ResetOptions,
        tree.AT_ClusterOn,
        tree.AT_DropCluster,
        tree.AT_AttachPartition,
    }
)
_TRIGGERS = frozenset(
    {
        tree.AT_EnableTrig,
        tree.AT_EnableAlwaysTrig,
        tree.AT_EnableReplicaTrig,
        tree.AT_EnableTrigAll,
        tree.AT_EnableTrigUser,
        tree.AT_DisableTrig,
        tree.AT_DisableTrigAll,
        tree.AT_DisableTrigUser,
    }
)
_REWRITING = {
    tree.AT_AlterColumnType: "A type changes: the table and its indexes are written anew, unless both types are the"
    " same in binary (varchar to a longer one, or to text).",
    tree.AT_SetExpression: "A generated column is computed anew.",
    tree.AT_SetLogged: "The table is written anew.",
    tree.AT_SetUnLogged: "The table is written anew.",
    tree.AT_SetAccessMethod: "The table is written anew.",
    tree.AT_SetTableSpace: "The table is written anew.",
}
_BRIEF = "For a moment."
# Functions of Django's and PostgreSQL's own defaults that are not volatile: what they say is kept once, for all rows.
_STEADY = frozenset({"now", "statement_timestamp", "transaction_timestamp", "current_setting", "lower", "upper"})
_SERIAL = frozenset({"serial", "bigserial", "smallserial", "serial4", "serial8", "serial2"})


class _Cost(NamedTuple):
    lock: str
    rewrites: bool = False
    scans: bool = False
    why: str = _BRIEF


def altered(statement: Statement) -> Iterator[Weight]:
    """The table itself, then the other tables of its new foreign keys. An index or a view is weighed as one, too."""
    commands = [each.alter_table_cmd for each in statement.node.cmds]
    costs = [_cost(command) for command in commands]
    lock = max((cost.lock for cost in costs), key=_STRENGTH.index)
    whys = dict.fromkeys(cost.why for cost in costs if cost.why != _BRIEF)
    yield Weight(
        called(statement.node.relation),
        lock,
        rewrites=any(cost.rewrites for cost in costs),
        scans=any(cost.scans for cost in costs),
        why=" ".join(whys) or _BRIEF,
    )
    for command, cost in zip(commands, costs, strict=True):
        for constraint in _constraints(command):
            yield from referenced(constraint, scans=cost.scans)


def _constraints(command: Node) -> Iterator[Node]:
    match command.subtype:
        case tree.AT_AddConstraint:
            yield definition(command).constraint
        case tree.AT_AddColumn:
            yield from (each.constraint for each in definition(command).column_def.constraints)
        case _:
            pass


def _cost(command: Node) -> _Cost:  # noqa: PLR0911  a table of cases
    match command.subtype:
        case tree.AT_AddColumn:
            return _of_column(definition(command).column_def)
        case tree.AT_AddConstraint:
            return _of_constraint(definition(command).constraint)
        case tree.AT_SetNotNull:
            why = "Every row is looked at for NULL, unless a valid CHECK already says that there is none."
            return _Cost(ACCESS_EXCLUSIVE, scans=True, why=why)
        case tree.AT_ValidateConstraint:
            return _Cost(SHARE_UPDATE_EXCLUSIVE, scans=True, why="Every row is checked while others write.")
        case tree.AT_SetRelOptions | tree.AT_ResetRelOptions:
            return _Cost(SHARE_UPDATE_EXCLUSIVE)
        case kind if kind in _REWRITING:
            return _Cost(ACCESS_EXCLUSIVE, rewrites=True, scans=True, why=_REWRITING[kind])
        case kind if kind in _MILD:
            return _Cost(SHARE_UPDATE_EXCLUSIVE)
        case kind if kind in _TRIGGERS:
            return _Cost(SHARE_ROW_EXCLUSIVE)
        case _:
            return _Cost(ACCESS_EXCLUSIVE)


def _of_constraint(constraint: Node) -> _Cost:
    match constraint.contype:
        case tree.CONSTR_FOREIGN:
            if constraint.skip_validation:
                return _Cost(SHARE_ROW_EXCLUSIVE, why="Rows that are there are not checked.")
            return _Cost(SHARE_ROW_EXCLUSIVE, scans=True, why="Every row is looked up in the other table.")
        case tree.CONSTR_PRIMARY | tree.CONSTR_UNIQUE | tree.CONSTR_EXCLUSION:
            if constraint.indexname:
                return _Cost(ACCESS_EXCLUSIVE, why="The index is there already.")
            return _Cost(ACCESS_EXCLUSIVE, scans=True, why="An index is built while nobody reads or writes.")
        case _ if constraint.skip_validation:
            return _Cost(ACCESS_EXCLUSIVE, why="Rows that are there are not checked.")
        case _:
            return _Cost(ACCESS_EXCLUSIVE, scans=True, why="Every row is checked while nobody reads or writes.")


def _of_column(column: Node) -> _Cost:
    constraints = [each.constraint for each in column.constraints]
    kinds = {each.contype for each in constraints}
    if _rewrites(column, constraints):
        why = "The new column has a value of its own in each row, so the table is written anew."
        return _Cost(ACCESS_EXCLUSIVE, rewrites=True, scans=True, why=why)
    if kinds & {tree.CONSTR_PRIMARY, tree.CONSTR_UNIQUE}:
        return _Cost(ACCESS_EXCLUSIVE, scans=True, why="An index is built while nobody reads or writes.")
    if tree.CONSTR_CHECK in kinds or (tree.CONSTR_FOREIGN in kinds and tree.CONSTR_DEFAULT in kinds):
        return _Cost(ACCESS_EXCLUSIVE, scans=True, why="Every row is checked while nobody reads or writes.")
    return _Cost(ACCESS_EXCLUSIVE)


def _rewrites(column: Node, constraints: list[Node]) -> bool:
    """A default that is volatile, an identity, a stored generated column (PostgreSQL 18, "ALTER TABLE", Notes)."""
    if _SERIAL.intersection(names(column.type_name.names)):
        return True
    for each in constraints:
        if each.contype == tree.CONSTR_IDENTITY:
            return True
        if each.contype == tree.CONSTR_GENERATED and each.generated_kind != "v":
            return True
        if each.contype == tree.CONSTR_DEFAULT and not _is_steady(each.raw_expr):
            return True
    return False


def _is_steady(expression: Node) -> bool:
    """Whether no function in it may say something else for each row; one that is not known here may."""
    called_by_name = [each for each in walk(expression) if isinstance(each, tree.FuncCall)]
    return all(_STEADY.issuperset(names(each.funcname)[-1:]) for each in called_by_name)
