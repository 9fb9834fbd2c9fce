"""How far a role reaches on a server: more than its one schema of its one database is a finding."""

from collections.abc import Iterator, Mapping

from provisioning.databases.keeping import PARAMETER
from provisioning.databases.servers import Connection, run
from tenants.findings import Finding, Severity

_ATTRIBUTES = """
    SELECT word FROM pg_roles, unnest(
        ARRAY['SUPERUSER', 'CREATEDB', 'CREATEROLE', 'REPLICATION', 'BYPASSRLS', 'INHERIT', 'NOLOGIN'],
        ARRAY[rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls, rolinherit, NOT rolcanlogin]
    ) AS attribute (word, there) WHERE rolname = %s AND there
"""
_GROUPS = """
    SELECT roleid::regrole::text, set_option OR admin_option FROM pg_auth_members
    WHERE member = to_regrole(quote_ident(%s)) ORDER BY 1
"""
_SETS_CONTEXT = """
    SELECT true FROM pg_roles WHERE rolname = %s AND NOT rolsuper AND has_parameter_privilege(oid, %s, 'SET')
"""
_DATABASES = """
    SELECT datname::text FROM pg_database
    WHERE datname <> %s AND datallowconn AND has_database_privilege(%s, oid, 'CONNECT') ORDER BY 1
"""
_RIGHTS_HERE = """
    SELECT word FROM unnest(ARRAY['TEMP', 'CREATE']) AS word WHERE has_database_privilege(%s, current_database(), word)
"""
_SCHEMAS = """
    SELECT nspname::text FROM pg_namespace
    WHERE nspname <> ALL (%s) AND nspname NOT IN ('pg_catalog', 'information_schema')
    AND has_schema_privilege(%s, oid, 'USAGE, CREATE')
    ORDER BY 1
"""
_SETTINGS = """
    SELECT entry FROM pg_db_role_setting s LEFT JOIN pg_database d ON d.oid = s.setdatabase
    CROSS JOIN unnest(s.setconfig) AS entry
    WHERE s.setrole = to_regrole(quote_ident(%s)) AND (s.setdatabase = 0 OR d.datname = %s)
"""


def too_mighty(connection: Connection, role: str, *, group: str = "") -> Iterator[Finding]:
    """Attributes a tenant's role may not have, and roles it is a member of beside its pool's `group`."""
    for (word,) in run(connection, _ATTRIBUTES, role):
        yield finding("ROLE_TOO_MIGHTY", role, f"The role is {word}.")
    for (_may,) in run(connection, _SETS_CONTEXT, role, PARAMETER):
        yield finding(
            "ROLE_SETS_CONTEXT",
            role,
            f"The role may set {PARAMETER}, by which the guard of pools tells tenants apart.",
            hint=f"As a superuser: REVOKE SET ON PARAMETER {PARAMETER} FROM PUBLIC, {role};",
        )
    for other, becomes in run(connection, _GROUPS, role):
        if other != group:
            yield finding("ROLE_IS_MEMBER", role, f"The role is a member of {other}.")
        elif becomes:
            yield finding("ROLE_IS_MEMBER", role, f"The role may become {other}.")


def other_databases(connection: Connection, role: str, own: str) -> Iterator[Finding]:
    """Databases of the server it may connect to beside its own."""
    for (database,) in run(connection, _DATABASES, own, role):
        yield finding(
            "ROLE_REACHES_DATABASE",
            role,
            f"The role may connect to the database {database}.",
            hint=f"As its owner: REVOKE ALL ON DATABASE {database} FROM PUBLIC, {role};",
        )


def other_schemas(connection: Connection, role: str, *own: str) -> Iterator[Finding]:
    """In the database we are connected to: schemas it may use beside its own, and rights on the database itself."""
    for (word,) in run(connection, _RIGHTS_HERE, role):
        yield finding("ROLE_TOO_MIGHTY", role, f"The role has {word} on its database.")
    for (schema,) in run(connection, _SCHEMAS, list(own), role):
        yield finding(
            "ROLE_REACHES_SCHEMA",
            role,
            f"The role may use the schema {schema}.",
            hint=f"As its owner: REVOKE ALL ON SCHEMA {schema} FROM PUBLIC, {role};",
        )


def changed_settings(connection: Connection, role: str, database: str, expected: Mapping[str, str]) -> list[str]:
    """Names of the role's settings, for everywhere or for this database, that are not as expected."""
    found = {entry for (entry,) in run(connection, _SETTINGS, role, database)}
    return sorted(
        {entry.partition("=")[0] for entry in found ^ {f"{name}={value}" for name, value in expected.items()}}
    )


def finding(
    code: str,
    role: str,
    message: str,
    *,
    severity: Severity = Severity.CRITICAL,
    hint: str = "Find out who changed it; rotating the credentials puts attributes, settings and password right.",
) -> Finding:
    return Finding(code=code, severity=severity, subject=role, message=message, hint=hint)
