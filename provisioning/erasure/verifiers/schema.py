"""Counts what is left of the tenant's own schemas: the schema, its rows, and its role's large objects beside it."""

from collections.abc import Iterable

from psycopg import sql

from provisioning.databases import vantage
from provisioning.databases.ddl import HOUSE, VERIFIER
from provisioning.databases.servers import Connection
from provisioning.erasure.stores import Control, Coverage, Kind, Residue, Scope, Tally
from provisioning.erasure.verifiers import person
from provisioning.erasure.verifiers.clusters import LEFT_BEHIND, clusters_of, hides_rows, placements_of, unseen
from tenants.findings import Finding, Severity
from tenants.models import Cluster
from tenants.placement import tenant_key
from tenants.states import Tier

_SCHEMA = "SELECT oid::bigint FROM pg_namespace WHERE nspname = %(schema)s"
_TABLES = """
    SELECT c.oid::bigint, c.relname::text FROM pg_class c WHERE c.relnamespace = %(space)s AND c.relkind IN ('r', 'm')
    ORDER BY 2
"""
_LARGE_OBJECTS = """
    SELECT count(*) FROM pg_largeobject_metadata m JOIN pg_roles r ON r.oid = m.lomowner WHERE r.rolname = %(role)s
"""
# Views that read from the schema, and foreign keys that point into it, from elsewhere.
_DEPENDANTS = """
    SELECT DISTINCT v.oid::regclass::text FROM pg_depend d
    JOIN pg_class ours ON ours.oid = d.refobjid AND d.refclassid = 'pg_class'::regclass
    JOIN pg_rewrite w ON w.oid = d.objid AND d.classid = 'pg_rewrite'::regclass JOIN pg_class v ON v.oid = w.ev_class
    WHERE ours.relnamespace = %(space)s AND v.relnamespace <> %(space)s
    UNION
    SELECT k.conrelid::regclass::text FROM pg_constraint k JOIN pg_class ours ON ours.oid = k.confrelid
    JOIN pg_class c ON c.oid = k.conrelid WHERE ours.relnamespace = %(space)s AND c.relnamespace <> %(space)s
"""


class Schema:
    """A schema goes whole: what is in it needs no word but for one person's erasure."""

    store = "schema"
    scopes: frozenset[Kind] = frozenset({"tenant", "subject"})

    def __init__(self, role: str = VERIFIER) -> None:
        self.role = role

    def coverage(self, scope: Scope) -> Coverage:
        if scope.kind == "subject":
            return person.coverage(scope, Tier.SCHEMA, self.role)
        places = placements_of(scope.tenant_id, Tier.SCHEMA)
        return Coverage(tuple(f"{each.cluster.name}:{each.database}/{each.schema}" for each in places))

    def blockers(self, scope: Scope) -> Iterable[Finding]:
        if scope.kind == "subject":
            yield from person.blockers(scope, Tier.SCHEMA, self.role)
            return
        for place in placements_of(scope.tenant_id, Tier.SCHEMA):
            with vantage.standing(place.cluster, role=self.role) as connection:
                for (space,) in vantage.ask(connection, _SCHEMA, {"schema": place.schema}):
                    for (name,) in vantage.ask(connection, _DEPENDANTS, {"space": space}):
                        message = f"{name} depends on the schema {place.schema}, and would be dropped with it."
                        hint = f"Drop {name}, or take it off the tenant's tables."
                        yield Finding("DEPENDED_ON_FROM_OUTSIDE", Severity.ERROR, name, message, hint)

    def count(self, scope: Scope) -> tuple[Tally, ...]:
        if scope.kind == "subject":
            return person.count(scope, Tier.SCHEMA, self.role)
        found = list[Tally]()
        for place in placements_of(scope.tenant_id, Tier.SCHEMA):
            with vantage.standing(place.cluster, role=self.role) as connection:
                found += contents(connection, f"{place.cluster.name}:{place.database}", place.schema)
        for cluster in clusters_of(scope.tenant_id):
            with vantage.standing(cluster, role=self.role) as connection:
                ((number,),) = vantage.ask(connection, _LARGE_OBJECTS, {"role": tenant_key(scope.tenant_id)})
                found.append(Tally(f"{cluster.name}:{cluster.database} large objects", int(number)))
        return tuple(found)

    def control(self, scope: Scope) -> Control:
        """The same question finds our own schema and its one row that no policy shows."""

        def look(connection: Connection, cluster: Cluster) -> str:
            if says := hides_rows(connection, cluster, self.role, *_own_tables(connection, scope)):
                return says
            seen = {tally.locator: tally.n for tally in contents(connection, "", HOUSE, only="control")}
            found = seen == {f"/{HOUSE}": 1, f"/{HOUSE}.control": 1}
            return "" if found else f"the control row of {cluster.name} was not found"

        wrong = unseen(scope.tenant_id, self.role, look)
        said = "row security off; the schema of the control row, and that row, seen"
        return Control(ok=not wrong, method=wrong or said)

    def residue(self, scope: Scope) -> tuple[Residue, ...]:
        return LEFT_BEHIND


def contents(connection: Connection, where: str, schema: str, *, only: str = "") -> list[Tally]:
    """1 for the schema, and the rows of each of its tables that has any; nothing where there is no such schema."""
    found = list[Tally]()
    for (space,) in vantage.ask(connection, _SCHEMA, {"schema": schema}):
        found.append(Tally(f"{where}/{schema}", 1))
        for _oid, table in vantage.ask(connection, _TABLES, {"space": space}):
            if only in {"", table}:
                count = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, table))
                ((number,),) = vantage.ask(connection, count, {})
                if number:
                    found.append(Tally(f"{where}/{schema}.{table}", int(number)))
    return found


def _own_tables(connection: Connection, scope: Scope) -> list[int]:
    return [
        int(oid)
        for (space,) in vantage.ask(connection, _SCHEMA, {"schema": tenant_key(scope.tenant_id)})
        for oid, _name in vantage.ask(connection, _TABLES, {"space": space})
    ]
