"""Keys, unique and exclusion constraints and foreign keys, each gaining the tenant in front."""

from collections.abc import Iterable

from postgast import parse
from postgast import pg_query_pb2 as tree

from provisioning.databases.pooling.boundary import SHARED_TABLES, TENANT_ID
from provisioning.databases.pooling.names import Names, columns_of, numbered
from provisioning.databases.pooling.syntax import Node, Statement, definition, name, names

MOVED = frozenset({tree.CONSTR_PRIMARY, tree.CONSTR_UNIQUE, tree.CONSTR_FOREIGN, tree.CONSTR_EXCLUSION})
_STANDS_BEHIND = frozenset(
    {
        tree.CONSTR_ATTR_DEFERRABLE,
        tree.CONSTR_ATTR_NOT_DEFERRABLE,
        tree.CONSTR_ATTR_DEFERRED,
        tree.CONSTR_ATTR_IMMEDIATE,
        tree.CONSTR_ATTR_ENFORCED,
        tree.CONSTR_ATTR_NOT_ENFORCED,
    }
)
_EMPTIES = {"n": "SET NULL", "d": "SET DEFAULT"}

# Note [A tenant in a GiST index]
# An exclusion constraint compares within one tenant, so it needs equality of uuid in GiST, which is in the btree_gist
# extension. GiST of PostgreSQL itself knows equality of IPv6 addresses, which have as many bits as a uuid: written as
# an address, each uuid is another one.
_AS_ADDRESS = f"regexp_replace(replace({TENANT_ID}::text, '-', ''), '(....)(?!$)', '\\1:', 'g')::inet"
_GIST_EQUALITY = f"EXCLUDE USING gist (({_AS_ADDRESS}) inet_ops WITH =)"
_BTREE_EQUALITY = f"EXCLUDE USING btree ({TENANT_ID} WITH =)"


def taken_out(column: Node) -> list[Node]:
    """Take the keys out of a column's definition, as table constraints over that column; flags follow their key."""
    kept, out = [], []
    last: Node = None
    for each in column.constraints:
        constraint = each.constraint
        if constraint.contype in MOVED:
            last = tree.Constraint()
            last.CopyFrom(constraint)
            (last.fk_attrs if last.contype == tree.CONSTR_FOREIGN else last.keys).append(name(column.colname))
            out.append(last)
        elif constraint.contype in _STANDS_BEHIND and last is not None:
            _flag(last, constraint.contype)
        else:
            last = None
            kept.append(each)
    del column.constraints[:]
    column.constraints.extend(kept)
    return out


def pooled(statement: Statement, table: str, constraint: Node, taken: Names) -> Node:
    """One table constraint with the tenant in front, under the name it has in a plain schema."""
    made = tree.Constraint()
    made.CopyFrom(constraint)
    match made.contype:
        case tree.CONSTR_PRIMARY | tree.CONSTR_UNIQUE:
            _lead_key(statement, table, made, taken)
        case tree.CONSTR_EXCLUSION:
            _lead_exclusion(statement, table, made, taken)
        case tree.CONSTR_FOREIGN:
            _lead_reference(statement, table, made, taken)
        case _:
            pass
    return made


def in_naming_order(constraints: Iterable[Node]) -> list[Node]:
    """As PostgreSQL names them: the primary key, other indexes, foreign keys."""
    order = {tree.CONSTR_PRIMARY: 0, tree.CONSTR_UNIQUE: 1, tree.CONSTR_EXCLUSION: 1, tree.CONSTR_FOREIGN: 2}
    return sorted(constraints, key=lambda each: order.get(each.contype, 3))


def merged(constraints: Iterable[Node]) -> list[Node]:
    """Without those that repeat an earlier one; as PostgreSQL merges them, a name goes to the one that stays."""
    kept: list[Node] = []
    for each in constraints:
        first = next((other for other in kept if _repeats(each, other)), None)
        if first is None:
            kept.append(each)
        elif not first.conname:
            first.conname = each.conname
    return kept


def _repeats(one: Node, other: Node) -> bool:
    """Of two keys, where the other may be the primary one."""
    keys = (tree.CONSTR_PRIMARY, tree.CONSTR_UNIQUE)
    return one.contype == tree.CONSTR_UNIQUE and other.contype in keys and _compared(one) == _compared(other)


def _compared(key: Node) -> tuple[object, ...]:
    flags = key.nulls_not_distinct, key.deferrable, key.initdeferred, key.indexname
    return names(key.keys), names(key.including), flags


def refuse_own(statement: Statement, columns: Iterable[str]) -> None:
    """Refuse the name of our column in the application's hands."""
    if TENANT_ID in columns:
        raise statement.refuse(
            f"The column name {TENANT_ID} is the pool's own.", "Give the field another column with db_column."
        )


def _flag(constraint: Node, flag: int) -> None:
    match flag:
        case tree.CONSTR_ATTR_DEFERRABLE:
            constraint.deferrable = True
        case tree.CONSTR_ATTR_DEFERRED:
            constraint.deferrable = constraint.initdeferred = True
        case tree.CONSTR_ATTR_NOT_ENFORCED:
            constraint.is_enforced, constraint.initially_valid, constraint.skip_validation = False, False, True
        case _:  # the defaults
            pass


def _lead_key(statement: Statement, table: str, made: Node, taken: Names) -> None:
    if made.without_overlaps:
        raise statement.refuse(
            "A key WITHOUT OVERLAPS needs an extension to compare tenants.",
            "Write an exclusion constraint: EXCLUDE USING gist (period WITH &&).",
        )
    if made.indexname:  # the index has the tenant already, and gives the constraint its name
        taken.take(made.conname or made.indexname)
        return
    columns = names(made.keys)
    refuse_own(statement, columns)
    if not made.conname:
        primary = made.contype == tree.CONSTR_PRIMARY
        made.conname = (
            taken.choose(table, [], "pkey")
            if primary
            else taken.choose(table, numbered(columns + names(made.including)), "key")
        )
    taken.take(made.conname)
    made.keys.insert(0, name(TENANT_ID))


def _lead_exclusion(statement: Statement, table: str, made: Node, taken: Names) -> None:
    templates = {"gist": _GIST_EQUALITY, "btree": _BTREE_EQUALITY}
    if (method := made.access_method or "btree") not in templates:
        raise statement.refuse(
            f"An exclusion constraint with an index of the kind {method} cannot compare tenants.",
            "Write it USING gist, or USING btree if it compares by equality alone.",
        )
    elements = [each.list.items[0].index_elem for each in made.exclusions]
    if not made.conname:
        made.conname = taken.choose(table, numbered(columns_of(elements) + names(made.including)), "excl")
    taken.take(made.conname)
    template = parse(f"ALTER TABLE t ADD {templates[method]}").stmts[0].stmt.alter_table_stmt
    made.exclusions.insert(0, definition(template.cmds[0].alter_table_cmd).constraint.exclusions[0])


def _lead_reference(statement: Statement, table: str, made: Node, taken: Names) -> None:
    columns = names(made.fk_attrs)
    refuse_own(statement, columns)
    if made.pktable.relname in SHARED_TABLES:
        raise statement.refuse(
            f"{made.pktable.relname} is shared by the tenants of a pool.", "Leave the foreign key out."
        )
    if made.fk_with_period or made.pk_with_period:
        raise statement.refuse(
            "A foreign key over a PERIOD needs an extension to compare tenants.", "Check it in a trigger."
        )
    if action := _EMPTIES.get(made.fk_upd_action):
        raise statement.refuse(
            f"ON UPDATE {action} would empty {TENANT_ID} too, and cannot be told to spare it.",
            "Write ON UPDATE CASCADE or leave it out: keys seldom change.",
        )
    if made.fk_matchtype == "f":
        if len(columns) > 1:
            raise statement.refuse(
                f"MATCH FULL over several columns would refuse them empty, since {TENANT_ID} never is.",
                "Leave MATCH FULL out and add a CHECK that the columns are empty together.",
            )
        made.fk_matchtype = "s"  # over one column both mean the same
    if not made.conname:
        made.conname = taken.choose(table, columns, "fkey")
    taken.take(made.conname)
    if made.fk_del_action in _EMPTIES and not made.fk_del_set_cols:
        made.fk_del_set_cols.extend(name(column) for column in columns)
    made.fk_attrs.insert(0, name(TENANT_ID))
    if made.pk_attrs:  # without a list the primary key is meant, which has the tenant in front
        made.pk_attrs.insert(0, name(TENANT_ID))
