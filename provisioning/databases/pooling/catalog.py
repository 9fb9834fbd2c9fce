"""What the catalog of a pool must show, whoever made it so: the compiler, an older one, or a person by hand.

# Note [What runs inside a cascade]
A referential action (CASCADE, SET NULL, SET DEFAULT) is a statement that PostgreSQL runs as the table's owner and past
row security, forced or not. So is what runs before that statement is done: BEFORE triggers, and functions called by
CHECK, by a default, a generated column, an index, or a trigger's WHEN. Those see and change every tenant's rows, and
PL/pgSQL keeps their plans, which have no policies, for later (tried). They are refused where an action can run them:
SET NULL and ON UPDATE are UPDATEs of the foreign key's columns alone.
AFTER triggers, of rows and of statements, deferred or not, are held by the policies: they run when the action has
ended. But they too run as the owner (PostgreSQL 18), who also owns the tenants of the schema tier: see Note [Functions
know their schema] in pinning.py.
"""

from collections.abc import Iterator
from pathlib import Path

from provisioning.databases.ddl import GUARD
from provisioning.databases.keeping import PARAMETER
from provisioning.databases.pooling.boundary import COLUMN, POLICY, SHARED_TABLES, TENANT_ID
from provisioning.databases.servers import Connection
from tenants.findings import Finding, Severity

_FAULTS = Path(__file__).with_name("catalog.sql").read_text().encode()
# The boundary as PostgreSQL writes it back.
_WHOSE = f"COALESCE((NULLIF(current_setting('{PARAMETER}'::text), ''::text))::uuid, {GUARD}.tenant())"
_WRITTEN_BACK = {
    "using": f"({TENANT_ID} = {_WHOSE})",
    "check": f"({TENANT_ID} = {_WHOSE})",
    "default": _WHOSE,
    "address": f"((regexp_replace(replace(({TENANT_ID})::text, '-'::text, ''::text),"
    " '(....)(?!$)'::text, '\\1:'::text, 'g'::text))::inet)",
}
SEVERITIES = {
    "TENANT_COLUMN": Severity.CRITICAL,
    "ROW_SECURITY_OFF": Severity.CRITICAL,
    "POLICY_DIFFERS": Severity.CRITICAL,
    "FOREIGN_KEY_CROSSES": Severity.CRITICAL,
    "FOREIGN_KEY_ASKS": Severity.ERROR,
    "FOREIGN_KEY_EMPTIES": Severity.ERROR,
    "KEY_SPANS_TENANTS": Severity.ERROR,
    "INDEX_SPANS_TENANTS": Severity.WARNING,
    "TENANT_NOT_INDEXED": Severity.WARNING,
    "INHERITS": Severity.CRITICAL,
    "PARTITIONED": Severity.CRITICAL,
    "KIND_NOT_POOLED": Severity.CRITICAL,
    "VIEW_SEES_ALL": Severity.CRITICAL,
    "VIEW_NOT_INVOKER": Severity.ERROR,
    "RUNS_AS_OWNER": Severity.CRITICAL,
    "LEAKPROOF_FUNCTION": Severity.ERROR,
    "TRIGGER_AS_OWNER": Severity.ERROR,
    "TRIGGER_IN_CASCADE": Severity.ERROR,
    "PATH_IN_CASCADE": Severity.ERROR,
    "FUNCTION_IN_CASCADE": Severity.ERROR,
    "RULE": Severity.ERROR,
    "GRANTED_TO_ALL": Severity.ERROR,
    "RIGHT_TOO_WIDE": Severity.ERROR,
    "PUBLISHED": Severity.WARNING,
}
BARRED = frozenset({Severity.ERROR, Severity.CRITICAL})  # a tenant is not let near an object with such a fault


def faults(connection: Connection, schema: str) -> Iterator[Finding]:
    """Everything by which a pool's schema could let one tenant reach another's rows, and the repair of each.

    `subject` is the name of a relation or function as SQL, with its schema; or the schema itself.
    """
    given = {
        **_WRITTEN_BACK,
        "schema": schema,
        "tenant": TENANT_ID,
        "policy": POLICY,
        "column": COLUMN,
        "shared": sorted(SHARED_TABLES),
    }
    # One round trip, without a plan anew where the connection may keep one: publishing asks after each migration.
    with connection.pipeline(), connection.transaction():
        connection.execute("SELECT set_config('tenure.path', current_setting('search_path'), true)")
        connection.execute("SELECT set_config('search_path', '', true)")
        found = connection.execute(_FAULTS, given, prepare=True)
        connection.execute("SELECT set_config('search_path', current_setting('tenure.path'), true)")
        rows = found.fetchall()
    for code, subject, message, hint in rows:
        yield Finding(f"POOL_{code}", SEVERITIES[code], subject, f"{subject}: {message}", hint)


def names_in(connection: Connection, schema: str) -> set[str]:
    """Names that a new relation or constraint of the schema may not have."""
    query = """
        SELECT relname::text FROM pg_class WHERE relnamespace = to_regnamespace(%(schema)s)
        UNION SELECT conname::text FROM pg_constraint WHERE connamespace = to_regnamespace(%(schema)s)
    """
    return {str(name) for (name,) in connection.execute(query, {"schema": schema}).fetchall()}


def views_in(connection: Connection, schema: str) -> set[str]:
    """Names of the schema's views."""
    query = "SELECT relname::text FROM pg_class WHERE relnamespace = to_regnamespace(%s) AND relkind = 'v'"
    return {str(name) for (name,) in connection.execute(query, (schema,)).fetchall()}
