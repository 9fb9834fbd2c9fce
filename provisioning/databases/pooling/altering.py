"""ALTER TABLE, command by command.

# Note [A foreign key is checked over all tenants]
Where tables hold rows, PostgreSQL checks a new foreign key with one query over both of them, with the rights and under
the policies of whoever adds it; the owner, without a tenant, is refused (PostgreSQL 18, RI_Initial_Check). So for this
one statement the session is what it logged in as, the provisioning role, which row security does not hold. It runs
nothing of the application's: what else stood in the same ALTER TABLE is split off and stays the owner's.
"""

from collections.abc import Iterator

from postgast import pg_query_pb2 as tree

from provisioning.databases.ddl import OWNER
from provisioning.databases.pooling.boundary import SHARED_TABLES
from provisioning.databases.pooling.constraints import in_naming_order, merged, pooled, refuse_own, taken_out
from provisioning.databases.pooling.names import Names
from provisioning.databases.pooling.syntax import Node, Statement, definition, literal, quoted, written

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
_CHECKS_LATER = frozenset({tree.AT_ValidateConstraint, tree.AT_AlterConstraint})
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
            yield from _altered_table(statement, commands, taken)
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


def _altered_table(statement: Statement, commands: list[Node], taken: Names) -> Iterator[str]:
    for command in commands:
        if command.subtype == tree.AT_DropConstraint:  # what is dropped goes first, wherever it stands
            taken.free(command.name)
    made = [_tenant_first(statement, each, taken) for command in commands for each in _keys_apart(statement, command)]
    apart = [] if taken.empty else [each for each in made if _asks_other_rows(each)]
    if not apart:
        yield statement.text if made == commands else _with(statement, made)
        return
    if now := [each for each in made if not _asks_other_rows(each)]:
        yield _with(statement, now)
    for command in apart:
        yield from _past_row_security(statement, command)


def _keys_apart(statement: Statement, command: Node) -> list[Node]:
    """A column and then its keys; any other command as it is."""
    if command.subtype != tree.AT_AddColumn:
        return [command]
    column = tree.AlterTableCmd()
    column.CopyFrom(command)
    refuse_own(statement, (definition(column).column_def.colname,))
    keys = merged(in_naming_order(taken_out(definition(column).column_def)))
    if keys:
        column.missing_ok = False  # if the column is there, these are not its keys
    return [column, *map(_added, keys)]


def _tenant_first(statement: Statement, command: Node, taken: Names) -> Node:
    match command.subtype:
        case tree.AT_AddColumn:
            return command
        case tree.AT_AddConstraint:
            constraint = pooled(statement, statement.node.relation.relname, definition(command).constraint, taken)
            return _added(constraint, like=command)
        case known if known in _AS_THEY_STAND:
            refuse_own(statement, (command.name,))
            return command
        case _:
            raise _refusal(statement, command)


def _with(statement: Statement, commands: list[Node]) -> str:
    """The same statement with other commands."""
    made = tree.AlterTableStmt()
    made.CopyFrom(statement.node)
    del made.cmds[:]
    made.cmds.extend(tree.Node(alter_table_cmd=each) for each in commands)
    return written(statement, made)


def _asks_other_rows(command: Node) -> bool:
    constraint = definition(command).constraint
    return command.subtype in _CHECKS_LATER or (
        command.subtype == tree.AT_AddConstraint
        and constraint.contype == tree.CONSTR_FOREIGN
        and not constraint.skip_validation
    )


def _past_row_security(statement: Statement, command: Node) -> Iterator[str]:
    """See Note [A foreign key is checked over all tenants]."""
    if command.subtype == tree.AT_AddConstraint:
        yield "SET LOCAL ROLE NONE"
    else:
        table, constraint = literal(quoted(statement.node.relation)), literal(command.name or _altered_name(command))
        yield (
            "DO $tenure$ BEGIN IF EXISTS (SELECT FROM pg_catalog.pg_constraint"  # a CHECK may call the application
            f" WHERE conrelid = {table}::regclass AND conname = {constraint} AND contype = 'f')"
            " THEN SET LOCAL ROLE NONE; END IF; END $tenure$"
        )
    yield _with(statement, [command])
    yield f"SET LOCAL ROLE {OWNER}"


def _altered_name(command: Node) -> str:
    return str(definition(command).atalter_constraint.conname)


def _added(constraint: Node, *, like: Node | None = None) -> Node:
    command = tree.AlterTableCmd(subtype=tree.AT_AddConstraint, behavior=tree.DROP_RESTRICT)
    if like is not None:
        command.CopyFrom(like)
    definition(command).constraint.CopyFrom(constraint)
    return command


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
