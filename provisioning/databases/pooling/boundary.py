"""What keeps tenants apart in one pooled table: a column, its default, and one policy.

# Note [The boundary of a pooled table]
Policy and default read the guard's parameter, bare: a plain expression, which an index answers, and which no statement
can make say another name while it runs. Where it is empty the guard is asked, which refuses, or looks at a seal (see
keeping.py). A sub-select would cost a plan of its own for each table that a statement names, and a function that the
planner puts its body in place of is read anew for each statement (tried: 50 µs). There is one permissive policy:
dropping it closes the table instead of opening it. What is checked of new rows is word for word what is asked of old
ones: PostgreSQL 18 then asks once for both. It is short, since each INSERT makes PostgreSQL read the default anew.
"""

from provisioning.databases.ddl import GUARD
from provisioning.databases.keeping import PARAMETER

TENANT_ID = "tenant_id"
POLICY = "tenure"
SHARED_TABLES = frozenset({"django_migrations"})  # one per pool: a pool is on one release. Readable, not writable

_KEPT = f"current_setting('{PARAMETER}')"
WHOSE = f"coalesce(nullif({_KEPT}, '')::uuid, {GUARD}.tenant())"
COLUMN = f"{TENANT_ID} uuid DEFAULT {WHOSE} NOT NULL"
USING = f"{TENANT_ID} = {WHOSE}"
CHECK = USING


def closed(table: str) -> tuple[str, str]:
    """The statements that close a new table, whose name is given as SQL."""
    return (
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        f"CREATE POLICY {POLICY} ON {table} USING ({USING}) WITH CHECK ({CHECK})",
    )
