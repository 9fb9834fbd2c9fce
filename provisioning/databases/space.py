"""A tenant's schema, seen from inside whichever database it is in: its faults, the number of its rows, their end."""

from collections.abc import Collection, Iterator
from graphlib import CycleError, TopologicalSorter

from psycopg import sql

from provisioning.databases import ddl
from provisioning.databases.fingerprint import difference, fingerprint, shape
from provisioning.databases.servers import Connection, run
from provisioning.models import Release
from tenants.findings import Finding, Severity

SAID = 5  # lines of a difference that a finding quotes; the whole is one command away

# What is in a schema depends on it; the indexes of pg_class and pg_proc begin with a name, and would be read whole.
_THERE = """oid = ANY (ARRAY(SELECT objid FROM pg_depend WHERE refclassid = 'pg_namespace'::regclass
            AND refobjid = to_regnamespace(%(schema)s) AND classid = '{}'::regclass))"""
_RELATIONS, _FUNCTIONS = _THERE.format("pg_class"), _THERE.format("pg_proc")

# Everything in the schema that has an owner, and everything somebody else than owner, verifier and tenant may use.
_OWNED_BY_OTHERS = f"""
    SELECT what, who FROM (
        SELECT 'schema ' || nspname, pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = %(schema)s
        UNION ALL
        SELECT 'relation ' || relname, pg_get_userbyid(relowner) FROM pg_class
        WHERE {_RELATIONS}
        UNION ALL
        SELECT 'function ' || proname, pg_get_userbyid(proowner) FROM pg_proc
        WHERE {_FUNCTIONS}
    ) AS owned (what, who) WHERE who <> %(owner)s ORDER BY what
"""
_GRANTED = f"""
    SELECT what, who, rights FROM (
        SELECT 'schema ' || nspname, grantee, privilege_type
        FROM pg_namespace, aclexplode(coalesce(nspacl, acldefault('n', nspowner)))
        WHERE nspname = %(schema)s
        UNION ALL
        SELECT 'relation ' || relname, grantee, privilege_type
        FROM pg_class,
             aclexplode(coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner)))
        WHERE {_RELATIONS} AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
        UNION ALL
        SELECT 'function ' || proname, grantee, privilege_type
        FROM pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner)))
        WHERE {_FUNCTIONS}
    ) AS granted (what, grantee, rights)
    CROSS JOIN LATERAL (SELECT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(grantee)::text END) AS named (who)
    WHERE who <> ALL (ARRAY[%(owner)s, %(verifier)s]) ORDER BY what, who, rights
"""
_ALLOWED = frozenset({"USAGE", "SELECT", "INSERT", "UPDATE", "DELETE", "EXECUTE"})
READ = frozenset({"SELECT"})
_UNREACHABLE = f"""
    SELECT relname::text FROM pg_class
    WHERE {_RELATIONS} AND CASE
        WHEN relname = ANY (%(read)s) THEN NOT has_table_privilege(%(role)s, oid, 'SELECT')
        WHEN relkind IN ('r', 'p') THEN NOT (has_table_privilege(%(role)s, oid, 'SELECT')
            AND has_table_privilege(%(role)s, oid, 'INSERT') AND has_table_privilege(%(role)s, oid, 'UPDATE')
            AND has_table_privilege(%(role)s, oid, 'DELETE'))
        WHEN relkind = 'S' THEN NOT has_sequence_privilege(%(role)s, oid, 'USAGE') AND NOT EXISTS (
            SELECT FROM pg_depend d JOIN pg_class t ON t.oid = d.refobjid AND t.relname = ANY (%(read)s)
            WHERE d.classid = 'pg_class'::regclass AND d.objid = pg_class.oid AND d.deptype IN ('a', 'i'))
        ELSE false END
    ORDER BY relname
"""
_UNSEEN = f"""
    SELECT relname::text FROM pg_class
    WHERE {_RELATIONS} AND relkind IN ('r', 'p') AND NOT (
        has_schema_privilege(%(verifier)s, relnamespace, 'USAGE') AND has_table_privilege(%(verifier)s, oid, 'SELECT'))
    ORDER BY relname
"""
_TABLES = "SELECT relname::text FROM pg_class WHERE relnamespace = to_regnamespace(%s) AND relkind = 'r' ORDER BY 1"
_REFERENCES = """
    SELECT c.relname::text, r.relname::text FROM pg_constraint k
    JOIN pg_class c ON c.oid = k.conrelid JOIN pg_class r ON r.oid = k.confrelid
    WHERE k.contype = 'f' AND c.relnamespace = to_regnamespace(%s)
"""


def exists(connection: Connection, schema: str) -> bool:
    return bool(run(connection, "SELECT 1 FROM pg_namespace WHERE nspname = %s", schema))


def owner_of(connection: Connection, schema: str) -> str:
    """The role's name; empty when there is no such schema."""
    rows = run(connection, "SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = %s", schema)
    return str(rows[0][0]) if rows else ""


def faults(connection: Connection, schema: str, *, role: str, release: Release) -> Iterator[Finding]:
    """Shape, owner and grants, against the release and the rule that owner, verifier and one role may reach it."""
    if not exists(connection, schema):
        yield _finding(
            "SCHEMA_MISSING", schema, "The tenant's schema is not there.", "Retry the operation that makes it."
        )
        return
    yield from shape_faults(connection, schema, release.name, release.fingerprint, release.shape)
    yield from reach_faults(connection, schema, role=role)


def shape_faults(
    connection: Connection, schema: str, release: str, expected: str, lines: list[str]
) -> Iterator[Finding]:
    """Whether the schema's fingerprint is `expected`, which is the hash of `lines`."""
    if fingerprint(connection, schema) != expected:
        found = difference(lines, shape(connection, schema))
        said = "; ".join(found[:SAID]) + (f"; and {len(found) - SAID} more" if len(found) > SAID else "")
        yield _finding(
            "SHAPE_DIFFERS",
            schema,
            f"Not the shape of release {release}: {said}.",
            "Undo what was changed by hand.",
        )


def reach_faults(
    connection: Connection, schema: str, *, role: str, only_read: Collection[str] = ()
) -> Iterator[Finding]:
    """Owner, verifier and one role may reach the schema's objects, and that one as far as it needs.

    Tables of `only_read` the role may read and nothing else.
    """
    names = {"schema": schema, "role": role, "owner": ddl.OWNER, "verifier": ddl.VERIFIER, "read": list(only_read)}
    for what, who in connection.execute(_OWNED_BY_OTHERS, names).fetchall():
        yield _finding(
            "WRONG_OWNER", schema, f"The {what} belongs to {who}.", f"ALTER … OWNER TO {ddl.OWNER}.", Severity.CRITICAL
        )
    reading = {f"relation {name}" for name in only_read}
    for what, who, right in connection.execute(_GRANTED, names).fetchall():
        if who != role or right not in (READ if what in reading else _ALLOWED):
            message = f"{who} has {right} on the {what}."
            yield _finding("WRONG_GRANT", schema, message, f"REVOKE {right} … FROM {who}.", Severity.CRITICAL)
    needed = {ddl.VERIFIER: _UNSEEN}
    if run(connection, "SELECT 1 FROM pg_roles WHERE rolname = %s", role):
        needed[role] = _UNREACHABLE
    for who, query in needed.items():
        if out_of_reach := [str(name) for (name,) in connection.execute(query, names).fetchall()]:
            message = f"{who} cannot use {', '.join(out_of_reach[:SAID])}."
            yield _finding("GRANT_MISSING", schema, message, "Retry the operation that makes the tenant's role.")


def count(connection: Connection, schema: str) -> int:
    """Rows of all tables, as the verifier sees them; 0 without the schema."""
    tables = _tables(connection, schema)
    if not tables:
        return 0
    counts = [sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, table)) for table in tables]
    with connection.transaction():
        run(connection, sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(ddl.VERIFIER)))
        return sum(int(number) for (number,) in run(connection, sql.SQL(" UNION ALL ").join(counts)))


def erase(connection: Connection, schema: str, *, limit: int) -> int:
    """Delete at most `limit` rows of one table that nothing refers to any more; how many went, 0 when none is left.

    Tables that refer to themselves or to each other in a circle have no row to begin with: they are emptied at once,
    and the answer may then be more than `limit`.
    """
    references = references_of(connection, schema)
    with connection.transaction():
        run(connection, sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(ddl.OWNER)))
        for table in leaves_first(_tables(connection, schema), references):
            in_circle = (table, table) in references or circular(table, references)
            if (
                gone := _empty(connection, schema, table) if in_circle else _chunk(connection, schema, table, limit)
            ) > 0:
                return gone
    return 0


def _chunk(connection: Connection, schema: str, table: str, limit: int) -> int:
    name = sql.Identifier(schema, table)
    text = sql.SQL("DELETE FROM {0} WHERE ctid IN (SELECT ctid FROM {0} LIMIT {1})").format(name, sql.Literal(limit))
    return connection.execute(text).rowcount


def _empty(connection: Connection, schema: str, table: str) -> int:
    """CASCADE reaches only tables that refer to this one: they are empty already, or in the same circle."""
    name = sql.Identifier(schema, table)
    ((number,),) = run(connection, sql.SQL("SELECT count(*) FROM {}").format(name))
    if number:
        run(connection, sql.SQL("TRUNCATE {} CASCADE").format(name))
    return int(number)


def _tables(connection: Connection, schema: str) -> list[str]:
    return [str(name) for (name,) in run(connection, _TABLES, schema)]


def references_of(connection: Connection, schema: str) -> set[tuple[str, str]]:
    """(referring, referred) pairs of tables."""
    return {(str(referring), str(referred)) for referring, referred in run(connection, _REFERENCES, schema)}


def leaves_first(tables: list[str], references: set[tuple[str, str]]) -> list[str]:
    """Tables that others refer to come after those others; where that is a circle, its reference is not counted."""
    counted = {pair for pair in references if pair[0] != pair[1]}
    while True:
        sorter: TopologicalSorter[str] = TopologicalSorter({table: set() for table in tables})
        for referring, referred in counted:
            sorter.add(referred, referring)
        try:
            return list(sorter.static_order())
        except CycleError as error:
            circle = error.args[1]
            counted -= {(a, b) for a in circle for b in circle}


def circular(table: str, references: set[tuple[str, str]]) -> bool:
    """Whether following references from the table leads back to it."""
    return table in reachable(table, references)


def reachable(table: str, references: set[tuple[str, str]]) -> set[str]:
    """The tables that following references from this one leads to."""
    reached, fresh = set[str](), {table}
    while fresh:
        fresh = {referred for referring, referred in references if referring in fresh} - reached
        reached |= fresh
    return reached


def _finding(code: str, subject: str, message: str, hint: str, severity: Severity = Severity.ERROR) -> Finding:
    return Finding(code=code, severity=severity, subject=subject, message=message, hint=hint)
