"""Rights on a pool's objects, for exactly those that have passed the catalog check.

# Note [No table is born open]
Nothing in a pool is granted by default. A new table, made by a migration or by hand, can be used by nobody but its
owner until this has run after the check, in the same transaction; and what has a fault loses the rights it had.
"""

from psycopg import sql

from provisioning.databases.ddl import TENANT_SEQUENCE_RIGHTS, TENANT_TABLE_RIGHTS
from provisioning.databases.pooling.boundary import SHARED_TABLES
from provisioning.databases.pooling.catalog import BARRED, faults
from provisioning.databases.servers import Connection, run
from tenants.findings import Finding

# Every object of the schema that a tenant may use, and whether the group has all of its rights on it, or any.
_OBJECTS = """
    WITH object (class, name, acl, wanted) AS (
        SELECT CASE WHEN c.relkind = 'S' THEN 'SEQUENCE' WHEN c.relname = ANY (%(shared)s) THEN 'SHARED'
                    ELSE 'TABLE' END,
               format('%%I.%%I', n.nspname, c.relname),
               coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner)),
               CASE WHEN c.relkind = 'S' THEN 2 WHEN c.relname = ANY (%(shared)s) THEN 1 ELSE 4 END
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = %(schema)s AND c.relkind IN ('r', 'v', 'S') AND NOT EXISTS (
            SELECT FROM pg_depend d JOIN pg_class t ON t.oid = d.refobjid AND t.relname = ANY (%(shared)s)
            WHERE c.relkind = 'S' AND d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i'))
        UNION ALL
        SELECT 'ROUTINE', p.oid::regprocedure::text, coalesce(p.proacl, acldefault('f', p.proowner)), 1
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = %(schema)s AND p.prokind <> 'a')
    SELECT class, name, held.rights, held.rights = wanted
    FROM object, LATERAL (
        SELECT count(*) AS rights FROM aclexplode(acl) JOIN pg_roles r ON r.oid = grantee AND r.rolname = %(group)s
    ) AS held
    ORDER BY name
"""
_RIGHTS = {
    "TABLE": TENANT_TABLE_RIGHTS,
    "SHARED": sql.SQL("SELECT"),
    "SEQUENCE": TENANT_SEQUENCE_RIGHTS,
    "ROUTINE": sql.SQL("EXECUTE"),
}
_CLASSES = {"TABLE": "TABLE", "SHARED": "TABLE", "SEQUENCE": "SEQUENCE", "ROUTINE": "ROUTINE"}


def grant(connection: Connection, schema: str, group: str) -> list[Finding]:
    """Give a pool's group role its rights on what passed the check, and take them from what did not.

    Returns the findings of the check. Call it in the transaction that changed the schema. Safe to run again.
    """
    found = list(faults(connection, schema))
    barred = {each.subject for each in found if each.severity in BARRED}
    role = sql.Identifier(group)
    given: dict[str, list[str]] = {}
    taken: dict[str, list[str]] = {}
    with connection.transaction():
        ((before,),) = connection.execute("SELECT current_setting('search_path')").fetchall()
        connection.execute("SELECT set_config('search_path', '', true)")
        parameters = {"schema": schema, "group": group, "shared": sorted(SHARED_TABLES)}
        for class_, name, rights, complete in connection.execute(_OBJECTS.encode(), parameters).fetchall():
            if name in barred and rights:
                taken.setdefault(class_, []).append(name)
            elif name not in barred and not complete:
                given.setdefault(class_, []).append(name)
        statements = [sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(sql.Identifier(schema), role)]
        for class_, names in given.items():
            words = sql.SQL(f"GRANT {{}} ON {_CLASSES[class_]} {{}} TO {{}}")
            statements.append(words.format(_RIGHTS[class_], _listed(names), role))
        for class_, names in taken.items():
            statements.append(sql.SQL(f"REVOKE ALL ON {_CLASSES[class_]} {{}} FROM {{}}").format(_listed(names), role))
        run(connection, sql.SQL("; ").join(statements))
        connection.execute("SELECT set_config('search_path', %s, true)", (before,))
    return found


def _listed(names: list[str]) -> sql.SQL:
    """Names that PostgreSQL itself has quoted."""
    return sql.SQL(", ".join(names))
