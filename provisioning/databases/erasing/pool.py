"""A tenant's rows in the tables of its pool, deleted as the tenant, in batches that are transactions of their own.

# Note [As whom rows are deleted]
As the owner of the tables, under a signed context with the purpose `erase`: row security is forced, so the policies
confine even the owner to this tenant's rows; the guard lets nobody in for that purpose who is not ours, or while the
tenant's door is open. An application's role could not erase: it may be let in for use alone, which the closed door
refuses. A superuser, or the verifier, would delete whatever a wrong WHERE names. Each statement names the tenant as
well, and a table whose row security was taken off by hand is left alone and reported: there no policy confines anybody.

# Note [How a batch finds its rows]
A table that cannot hold more rows than a few batches goes as it is: its size tells. Of a larger one the tenant's rows
are counted first, no further than the batch reaches, which is a look at the index that begins with `tenant_id`. What
fits goes as it is; of the rest so many rows go by place, not by key: the list of their addresses costs one such look,
and the delete walks the addresses in order; it names the tenant once more, which lets the planner ask the policy once
and not for each row (a tenth of the work). Tables go leaves first, so that the check behind each foreign key finds
nothing, and may rest: see `resting.py`.
A table that refers to itself gives up those of its rows that none refers to, again and again; what hangs together in
chains longer than that, or in circles of several tables, goes in one statement, at whose end references are looked at.
"""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from typing import NamedTuple
from uuid import UUID

from psycopg import sql

from provisioning.databases import ddl, guard, pooling, space
from provisioning.databases.door import wait_until_left
from provisioning.databases.erasing import resting
from provisioning.databases.erasing.places import STATEMENT_TIMEOUT, Lease, Place, bounded
from provisioning.databases.servers import Connection, run
from tenants.findings import Finding, Severity
from tenants.isolation.tickets import ERASE
from tenants.placement import pool_role

BATCH = 20_000  # rows: a third of a second with the checks behind foreign keys, a sixth of that without
FEW = 5  # batches, that a small table may hold at most
LEAST_BYTES = 52  # of a row: its place in the page, its header, tenant and key
IN_ONE = "600s"  # for a statement that no batch bounds

# Tables with tenants' rows, whether the policies hold there for the owner too, and their bytes.
_TABLES = """
    SELECT c.relname::text, c.relrowsecurity AND c.relforcerowsecurity AND pg_get_userbyid(c.relowner) = %(owner)s
        AND EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname = %(policy)s)
        AND NOT EXISTS (
            SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname <> %(policy)s AND p.polpermissive),
        pg_relation_size(c.oid)
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = %(column)s AND NOT a.attisdropped
    WHERE c.relnamespace = to_regnamespace(%(schema)s) AND c.relkind = 'r' ORDER BY 1
"""
_TO_ITSELF = """
    SELECT array_agg(own.attname::text ORDER BY pair.n), array_agg(other.attname::text ORDER BY pair.n)
    FROM pg_constraint k
    CROSS JOIN LATERAL unnest(k.conkey, k.confkey) WITH ORDINALITY AS pair (own, other, n)
    JOIN pg_attribute own ON own.attrelid = k.conrelid AND own.attnum = pair.own
    JOIN pg_attribute other ON other.attrelid = k.confrelid AND other.attnum = pair.other
    WHERE k.contype = 'f' AND k.conrelid = k.confrelid AND k.conrelid = to_regclass(%s) GROUP BY k.oid
"""
_SHUT = f"UPDATE {ddl.GUARD}.placement SET open = false, incarnation = %s WHERE tenant = %s"
_DOOR = f"""
    INSERT INTO {ddl.GUARD}.placement (tenant, incarnation, open) VALUES (%s, %s, false)
    ON CONFLICT (tenant) DO NOTHING RETURNING true
"""
_FORGET = f"DELETE FROM {ddl.GUARD}.placement WHERE tenant = %s"
_TENANT = sql.Identifier(pooling.TENANT_ID)


class Group(NamedTuple):
    """A table, or the tables of one circle, whose rows go together. `most` is how many rows, of all tenants, fit in."""

    tables: tuple[str, ...]
    most: int
    to_itself: tuple[tuple[tuple[str, str], ...], ...] = ()  # per foreign key: (own column, the one it refers to)


def _hangs_together(group: Group) -> bool:
    return len(group.tables) > 1 or bool(group.to_itself)


@dataclass(slots=True)
class Gone:
    """What one call took out. `left` names tables in which no policy confines us."""

    rows: int = 0
    done: bool = False
    left: list[Finding] = field(default_factory=list)


def shut(connection: Connection, place: Place) -> None:
    """Nobody enters as this tenant any more, and who was inside has left.

    `connection` is in autocommit, in the pool's database. Raises StillInside.
    """
    run(connection, _SHUT, place.context.incarnation, place.context.tenant_id)
    logins = [place.context.key, *([pool_role(place.context.pool_id)] if place.context.pool_id else [])]
    wait_until_left(connection, logins)


def erase(
    connection: Connection,
    place: Place,
    *,
    limit: int,
    lease: Lease,
    batch: int = BATCH,
    until: float = math.inf,
) -> Gone:
    """At most about `limit` rows, in transactions of about `batch`; done when there is none left to take.

    No transaction begins after `until` (monotonic seconds) but the first.
    """
    groups, left = _groups(connection, place)
    rests = not left and resting.may_rest(
        connection, place.schema, [table for group in groups for table in group.tables], column=pooling.TENANT_ID
    )
    gone, statement = Gone(left=left), IN_ONE if any(map(_hangs_together, groups)) else STATEMENT_TIMEOUT
    while gone.rows < limit:
        lease()
        with bounded(connection, statement=statement):
            # Rows may be left where the tenant moved away from: there a closed door stands for this transaction alone.
            moved_away = run(connection, _DOOR, place.context.tenant_id, place.context.incarnation)
            with resting.resting(connection) if rests else nullcontext():
                guard.enter(connection, place.context, ERASE)
                taken, emptied = _batch(connection, place, groups, min(batch, limit - gone.rows))
                run(connection, "RESET ROLE")
            if moved_away:
                run(connection, _FORGET, place.context.tenant_id)
        gone.rows += taken
        groups = groups[emptied:]
        if not groups:
            gone.done = True
            return gone
        if time.monotonic() >= until:
            break
    return gone


def forget_door(connection: Connection, place: Place) -> int:
    """The tenant has no place in this database any more, whichever life it was; 1 if it had one."""
    return connection.execute(_FORGET.encode(), (place.context.tenant_id,)).rowcount


def _batch(connection: Connection, place: Place, groups: Sequence[Group], limit: int) -> tuple[int, int]:
    """How many rows went, and how many of the first groups are empty now."""
    taken = 0
    for emptied, group in enumerate(groups):
        while taken < limit:
            went, is_last = _from_group(connection, place, group, limit - taken, is_small=group.most <= FEW * limit)
            taken += went
            if is_last:
                break
        else:
            return taken, emptied
    return taken, len(groups)


def _from_group(connection: Connection, place: Place, group: Group, limit: int, *, is_small: bool) -> tuple[int, bool]:
    """How many rows went, and whether none is left."""
    tenant, first = place.context.tenant_id, sql.Identifier(place.schema, group.tables[0])
    if len(group.tables) > 1:
        return _together(connection, place.schema, group.tables, tenant), True
    if is_small or _all_fit(connection, first, tenant, limit):
        return _whole(connection, first, tenant), True
    if not group.to_itself:
        return _by_address(connection, first, tenant, limit, sql.SQL("true")), False
    free = sql.SQL(" AND ").join(_nobody_refers(first, key) for key in group.to_itself)
    went = _by_address(connection, first, tenant, limit, free)
    if went < limit:  # chains and circles within the table: few at a time, or none, are free
        return went + _whole(connection, first, tenant), True
    return went, False


def _all_fit(connection: Connection, table: sql.Identifier, tenant: UUID, limit: int) -> bool:
    text = sql.SQL(
        "SELECT count(*) <= {limit} FROM (SELECT FROM {table} WHERE {column} = {tenant} LIMIT {more}) AS few"
    )
    given = {"table": table, "column": _TENANT, "tenant": sql.Literal(tenant), "limit": sql.Literal(limit)}
    ((fit,),) = run(connection, text.format(**given, more=sql.Literal(limit + 1)))
    return bool(fit)


def _whole(connection: Connection, table: sql.Identifier, tenant: UUID) -> int:
    text = sql.SQL("DELETE FROM {} WHERE {} = {}").format(table, _TENANT, sql.Literal(tenant))
    return connection.execute(text).rowcount


def _by_address(connection: Connection, table: sql.Identifier, tenant: UUID, limit: int, which: sql.Composable) -> int:
    text = sql.SQL(
        "DELETE FROM {table} WHERE {column} = {tenant} AND ctid = ANY (ARRAY("
        "SELECT ctid FROM {table} AS own WHERE own.{column} = {tenant} AND {which} LIMIT {limit}))"
    ).format(table=table, column=_TENANT, tenant=sql.Literal(tenant), which=which, limit=sql.Literal(limit))
    return connection.execute(text).rowcount


def _nobody_refers(table: sql.Identifier, key: tuple[tuple[str, str], ...]) -> sql.Composed:
    pairs = sql.SQL(" AND ").join(
        sql.SQL("other.{} = own.{}").format(sql.Identifier(refers), sql.Identifier(referred))
        for refers, referred in key
    )
    return sql.SQL("NOT EXISTS (SELECT FROM {} AS other WHERE {} AND other.ctid <> own.ctid)").format(table, pairs)


def _together(connection: Connection, schema: str, tables: Sequence[str], tenant: UUID) -> int:
    """All of the tenant's rows in these tables, in one statement."""
    gone = [
        sql.SQL("{} AS (DELETE FROM {} WHERE {} = {} RETURNING 1)").format(
            sql.Identifier(f"gone_{n}"), sql.Identifier(schema, table), _TENANT, sql.Literal(tenant)
        )
        for n, table in enumerate(tables)
    ]
    counted = [sql.SQL("(SELECT count(*) FROM {})").format(sql.Identifier(f"gone_{n}")) for n in range(len(tables))]
    text = sql.SQL("WITH {} SELECT {}").format(sql.SQL(", ").join(gone), sql.SQL(" + ").join(counted))
    ((number,),) = run(connection, text)
    return int(number)


def _groups(connection: Connection, place: Place) -> tuple[list[Group], list[Finding]]:
    """The live catalog's tables, leaves first, a circle at the place of its first table; and those left alone."""
    given = {
        "column": pooling.TENANT_ID,
        "schema": place.schema,
        "owner": ddl.OWNER,
        "policy": pooling.POLICY,
    }
    found = connection.execute(_TABLES, given).fetchall()
    confined = {str(name): int(size) // LEAST_BYTES for name, holds, size in found if holds}
    left = [_unconfined(place, str(name)) for name, holds, _size in found if not holds]
    references = space.references_of(connection, place.schema)
    return list(_ordered(connection, place.schema, confined, references)), left


def _ordered(
    connection: Connection, schema: str, tables: Mapping[str, int], references: set[tuple[str, str]]
) -> Iterator[Group]:
    """Circles are one thing in the order, or who refers into one from outside might come after it.

    `tables` says of each how many rows fit in it.
    """
    circles = {table: _circle_of(table, references) for table in tables}
    whole = {table: tuple(sorted(circles[table] & tables.keys())) or (table,) for table in tables}
    sorter: TopologicalSorter[tuple[str, ...]] = TopologicalSorter({group: set() for group in whole.values()})
    for referring, referred in references:
        if referring in whole and referred in whole and whole[referring] != whole[referred]:
            sorter.add(whole[referred], whole[referring])
    for group in sorter.static_order():
        most = sum(tables[name] for name in group)
        if len(group) == 1 and circles[group[0]]:
            quoted = sql.Identifier(schema, group[0]).as_string()
            keys = tuple(tuple(zip(own, other, strict=True)) for own, other in run(connection, _TO_ITSELF, quoted))
            yield Group(group, most, keys)
        else:
            yield Group(group, most)


def _circle_of(table: str, references: set[tuple[str, str]]) -> set[str]:
    """The tables from which references lead to this one and back; none if it is in no circle."""
    ahead = space.reachable(table, references)
    return {other for other in ahead if table in space.reachable(other, references)}


def _unconfined(place: Place, table: str) -> Finding:
    return Finding(
        code="TABLE_NOT_CONFINED",
        severity=Severity.CRITICAL,
        subject=f"{place}.{table}",
        message=f"{table} has a {pooling.TENANT_ID}, and no policy of ours confines its owner to one tenant's rows.",
        hint="Drop it, or put its row security right, then try again. Nothing was deleted from it.",
    )
