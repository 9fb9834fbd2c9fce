"""ALTER TABLE, command by command."""

from collections.abc import Iterator

from postgast import pg_query_pb2 as tree

from provisioning.databases.pooling.boundary import SHARED_TABLES
from provisioning.databases.pooling.constraints import MOVED, in_naming_order, pooled, refuse_own, taken_out
from provisioning.databases.pooling.names import Names
from provisioning.databases.pooling.syntax import Node, Statement, definition, written

# What changes one table in place and touches neither its key nor its policy.
_AS_THEY_STAND = frozenset(
    {
        tree.AT_ColumnDefault,
        tree.AT_DropNotNull,
        tree.AT_SetNotNull,
        tree.AT_SetExpression,
        tree.AT_DropExpression,
        tree.AT_SetStatistics,
        tree.AT_SetOptions,
        tree.AT_ResetOptions,
        tree.AT_SetStorage,
        tree.AT_SetCompression,
        tree.AT_DropColumn,
        tree.AT_AlterConstraint,
        tree.AT_ValidateConstraint,
        tree.AT_DropConstraint,
        tree.AT_AlterColumnType,
        tree.AT_ClusterOn,
        tree.AT_DropCluster,
        tree.AT_SetLogged,
        tree.AT_SetUnLogged,
        tree.AT_SetRelOptions,
        tree.AT_ResetRelOptions,
        tree.AT_EnableTrig,
        tree.AT_DisableTrig,
        tree.AT_EnableTrigUser,
        tree.AT_DisableTrigUser,
        tree.AT_ReplicaIdentity,
        tree.AT_AddIdentity,
        tree.AT_SetIdentity,
        tree.AT_DropIdentity,
    }
)
_ROW_SECURITY = frozenset(
    {tree.AT_EnableRowSecurity, tree.AT_DisableRowSecurity, tree.AT_ForceRowSecurity, tree.AT_NoForceRowSecurity}
)
_INHERITANCE = frozenset({tree.AT_AddInherit, tree.AT_DropInherit, tree.AT_AttachPartition, tree.AT_DetachPartition})
_OF_A_VIEW = frozenset({tree.AT_ColumnDefault, tree.AT_SetRelOptions, tree.AT_ResetRelOptions})
_OF_AN_INDEX = frozenset({tree.AT_SetRelOptions, tree.AT_ResetRelOptions})
_OF_A_TYPE = frozenset({tree.AT_AddColumn, tree.AT_DropColumn, tree.AT_AlterColumnType})


def altered(statement: Statement, taken: Names) -> Iterator[str]:
    """A table, index, view, sequence or composite type."""
    commands = [each.alter_table_cmd for each in statement.node.cmds]
    if statement.node.relation.relname in SHARED_TABLES:
        yield statement.text
        return
    match statement.node.objtype:
        case tree.OBJECT_TABLE:
            yield _altered_table(statement, commands, taken)
            return
        case tree.OBJECT_INDEX:
            known = _OF_AN_INDEX
        case tree.OBJECT_VIEW:
            known = _OF_A_VIEW
            _refuse_other_eyes(statement, commands)
        case tree.OBJECT_TYPE:
            known = _OF_A_TYPE
        case _:
            known = frozenset()
    if unknown := next((each for each in commands if each.subtype not in known), None):
        raise _refusal(statement, unknown)
    yield statement.text


def _altered_table(statement: Statement, commands: list[Node], taken: Names) -> str:
    made = tree.AlterTableStmt()
    made.CopyFrom(statement.node)
    del made.cmds[:]
    table = made.relation.relname
    changed = False
    for command in commands:
        match command.subtype:
            case tree.AT_AddColumn:
                column = tree.AlterTableCmd()
                column.CopyFrom(command)
                refuse_own(statement, (definition(column).column_def.colname,))
                keys = in_naming_order(taken_out(definition(column).column_def))
                if keys:
                    column.missing_ok = False  # if the column is there, these are not its keys
                made.cmds.add().alter_table_cmd.CopyFrom(column)
                for key in keys:
                    _add(made, pooled(statement, table, key, taken))
                changed = changed or bool(keys)
            case tree.AT_AddConstraint:
                constraint = definition(command).constraint
                _add(made, pooled(statement, table, constraint, taken), like=command)
                changed = changed or constraint.contype in MOVED
            case known if known in _AS_THEY_STAND:
                refuse_own(statement, (command.name,))
                made.cmds.add().alter_table_cmd.CopyFrom(command)
            case _:
                raise _refusal(statement, command)
    return written(statement, made) if changed else statement.text


def _add(made: Node, constraint: Node, *, like: Node | None = None) -> None:
    command = tree.AlterTableCmd(subtype=tree.AT_AddConstraint, behavior=tree.DROP_RESTRICT)
    if like is not None:
        command.CopyFrom(like)
    definition(command).constraint.CopyFrom(constraint)
    made.cmds.add().alter_table_cmd.CopyFrom(command)


def _refusal(statement: Statement, command: Node) -> Exception:
    match command.subtype:
        case known if known in _ROW_SECURITY:
            return statement.refuse("Row security is what keeps a pool's tenants apart.", "Leave it out.")
        case known if known in _INHERITANCE:
            return statement.refuse(
                "Row security is not inherited by partitions and children.", "Make one plain table of it."
            )
        case tree.AT_ChangeOwner:
            return statement.refuse("Everything of a pool has one owner.", "Leave it out.")
        case tree.AT_EnableTrigAll | tree.AT_DisableTrigAll:
            return statement.refuse("ALL names the foreign keys' own triggers too.", "Write USER instead of ALL.")
        case _:
            what = tree.AlterTableType.Name(command.subtype).removeprefix("AT_")
            return statement.refuse(f"{what} is not known to be safe in a pool.", "Leave it out of the migrations.")


def _refuse_other_eyes(statement: Statement, commands: list[Node]) -> None:
    """A view must go on reading as whoever asks."""
    for command in commands:
        options = definition(command).list.items if command.HasField("def") else ()
        if any(each.def_elem.defname == "security_invoker" for each in options):
            raise statement.refuse("A view of a pool reads as whoever asks it.", "Leave security_invoker out.")
