"""Counts a tenant's rows in every table of shared databases that has a `tenant_id`, whoever made it, in any schema.

By the live catalog and past row security, so that it sees what the eraser could not: another schema, a copy, a table
that no release knows.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple
from uuid import UUID

from psycopg import sql

from provisioning.databases import pooling, vantage
from provisioning.databases.ddl import GUARD, HOUSE, VERIFIER
from provisioning.databases.fingerprint import by_name
from provisioning.databases.servers import Connection
from provisioning.erasure.stores import Control, Coverage, Kind, Residue, Scope, Tally
from provisioning.erasure.verifiers import person
from provisioning.erasure.verifiers.clusters import LEFT_BEHIND, clusters_of, unseen
from provisioning.models import Release
from tenants.findings import Finding, Severity
from tenants.models import Cluster, Placement, Pool
from tenants.states import Tier

AT_ONCE = 100  # tables in one statement

# Leaves of partitions are tables of their own; a foreign table's rows are elsewhere, so it is only ever named.
_TABLES = """
    SELECT c.oid::bigint, n.nspname::text, c.relname::text, a.atttypid = 'uuid'::regtype, c.relkind::text
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = %(column)s AND NOT a.attisdropped
    JOIN pg_type t ON t.oid = a.atttypid
    WHERE c.relkind IN ('r', 'm', 'f') AND (a.atttypid = 'uuid'::regtype OR t.typcategory = 'S')
        AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', %(house)s, %(guard)s)
    ORDER BY 2, 3
"""
_WITHOUT_COLUMN = """
    SELECT n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = ANY (%(schemas)s) AND c.relkind IN ('r', 'p', 'm', 'f') AND c.relname <> ALL (%(shared)s)
        AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = %(column)s)
"""
_PREPARED = "SELECT gid::text FROM pg_prepared_xacts WHERE database = current_database()"
_PUBLISHED = """
    SELECT pubname::text, tablename::text FROM pg_publication_tables WHERE schemaname = ANY (%(schemas)s)
"""
_OWN_SCHEMA = "t_"  # of the schema tier: goes whole, and its application may have a `tenant_id` of its own


class Table(NamedTuple):
    oid: int
    schema: str
    name: str
    is_uuid: bool
    kind: str


class PoolRows:
    """`role` is whom it counts as: another than the verifier's is a mistake, which its control must notice."""

    store = "pool_rows"
    scopes: frozenset[Kind] = frozenset({"tenant", "subject"})

    def __init__(self, role: str = VERIFIER) -> None:
        self.role = role

    def coverage(self, scope: Scope) -> Coverage:
        if scope.kind == "subject":
            return person.coverage(scope, Tier.POOL, self.role)
        covered, unclassified = list[str](), list[str]()
        for cluster in clusters_of(scope.tenant_id):
            known, inhabited = _known(cluster), _inhabited(scope.tenant_id, cluster)
            with vantage.standing(cluster, role=self.role) as connection:
                for table in _tables(connection):
                    if table.kind == "r" and table.name in known.get(table.schema, ()):
                        covered.append(_locator(cluster, table.schema, table.name))
                    elif not table.schema.startswith(_OWN_SCHEMA):
                        unclassified.append(_locator(cluster, table.schema, table.name))
                given = {
                    "schemas": inhabited,
                    "shared": sorted(pooling.SHARED_TABLES),
                    "column": pooling.TENANT_ID,
                }
                for schema, name in vantage.ask(connection, _WITHOUT_COLUMN, given):
                    unclassified.append(_locator(cluster, schema, name))
        return Coverage(tuple(covered), (), tuple(unclassified))

    def blockers(self, scope: Scope) -> Iterable[Finding]:
        if scope.kind == "subject":
            yield from person.blockers(scope, Tier.POOL, self.role)
            return
        for cluster in clusters_of(scope.tenant_id):
            with vantage.standing(cluster, role=self.role) as connection:
                yield from _in_the_way(connection, cluster, _inhabited(scope.tenant_id, cluster))

    def count(self, scope: Scope) -> tuple[Tally, ...]:
        if scope.kind == "subject":
            return person.count(scope, Tier.POOL, self.role)
        found = list[Tally]()
        for cluster in clusters_of(scope.tenant_id):
            with vantage.standing(cluster, role=self.role) as connection:
                tables = [table for table in _tables(connection) if table.kind != "f"]
                numbers = _rows_of(connection, tables, scope.tenant_id)
                found += [
                    Tally(_locator(cluster, table.schema, table.name), number)
                    for table, number in zip(tables, numbers, strict=True)
                ]
        return tuple(found)

    def control(self, scope: Scope) -> Control:
        """The same question asked for the tenant of `tenure.control`, whose row no policy shows; each table open."""
        looked_at = list[Table]()

        def look(connection: Connection, cluster: Cluster) -> str:
            tables, control = _tables(connection), vantage.control_table(connection)
            if not control:
                return f"{cluster.name} has no control row"
            if hidden := vantage.hidden(connection, [control, *(table.oid for table in tables)]):
                return f"{hidden} of {len(tables) + 1} tables hide rows from {self.role} on {cluster.name}"
            asked = Table(control, *vantage.CONTROL, is_uuid=True, kind="r")
            looked_at.extend(tables)
            found = _rows_of(connection, [asked], vantage.CONTROL_TENANT) == [1]
            return "" if found else f"the control row of {cluster.name} was not found"

        wrong, seen = unseen(scope.tenant_id, self.role, look), len(looked_at)
        said = f"row security off, control row seen; {seen} of {seen} tables readable"
        return Control(ok=not wrong, method=wrong or said)

    def residue(self, scope: Scope) -> tuple[Residue, ...]:
        return LEFT_BEHIND


def _tables(connection: Connection) -> list[Table]:
    given = {"column": pooling.TENANT_ID, "house": HOUSE, "guard": GUARD}
    return [Table(*row) for row in vantage.ask(connection, _TABLES, given)]


def _rows_of(connection: Connection, tables: list[Table], tenant_id: UUID) -> list[int]:
    """In the order of the tables. The one question of this store: the control asks it too."""
    found: dict[int, int] = {}
    for first in range(0, len(tables), AT_ONCE):
        each = [_question(table) for table in tables[first : first + AT_ONCE]]
        given = {"tenant": tenant_id, "texts": [str(tenant_id), tenant_id.hex]}
        rows = vantage.ask(connection, sql.SQL(" UNION ALL ").join(each), given)
        found.update((int(oid), int(number)) for oid, number in rows)
    return [found[table.oid] for table in tables]


def _question(table: Table) -> sql.Composed:
    column, name = sql.Identifier(pooling.TENANT_ID), sql.Identifier(table.schema, table.name)
    whose = sql.SQL("{} = %(tenant)s" if table.is_uuid else "lower({}::text) = ANY (%(texts)s)").format(column)
    return sql.SQL("SELECT {}::bigint, count(*) FROM {} WHERE {}").format(sql.Literal(table.oid), name, whose)


def _known(cluster: Cluster) -> dict[str, frozenset[str]]:
    """The tables that each pool's release has, by schema."""
    pools = list(Pool.objects.filter(cluster=cluster))
    shapes = dict(Release.objects.filter(name__in={pool.release for pool in pools}).values_list("name", "pool_shape"))
    tables = {
        release: frozenset(name.removeprefix("table ") for name in by_name(shape) if name.startswith("table "))
        for release, shape in shapes.items()
    }
    return {pool.schema: tables.get(pool.release, frozenset()) for pool in pools}


def _inhabited(tenant_id: UUID, cluster: Cluster) -> list[str]:
    """Schemas of pools that the tenant has or had a place in."""
    placed = Placement.objects.filter(tenant_id=tenant_id, cluster=cluster, tier=Tier.POOL)
    return list(placed.values_list("schema", flat=True).distinct())


def _in_the_way(connection: Connection, cluster: Cluster, schemas: list[str]) -> Iterator[Finding]:
    for (gid,) in vantage.ask(connection, _PREPARED, {}):
        message = f"The prepared transaction {gid} of {cluster.database} may write rows later, or holds them locked."
        hint = "COMMIT PREPARED or ROLLBACK PREPARED it."
        yield Finding("PREPARED_TRANSACTION", Severity.ERROR, cluster.name, message, hint)
    for publication, table in vantage.ask(connection, _PUBLISHED, {"schemas": schemas}):
        message = f"{table} is in the publication {publication}: who subscribes keeps a copy of its rows."
        hint = "Take the table out, or name the subscriber as a recipient."
        yield Finding("PUBLISHED", Severity.WARNING, cluster.name, message, hint)


def _locator(cluster: Cluster, schema: str, name: str) -> str:
    return f"{cluster.name}:{cluster.database}/{schema}.{name}"
