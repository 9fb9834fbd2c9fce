"""What keeps tenants apart in one pooled table: a column, its default, and one policy.

# Note [The boundary of a pooled table]
Policy and default ask the guard, bare: the planner puts a plain expression in place of the call, which an index
answers, and which no statement can make say another name while it runs (see keeping.py). A sub-select would be asked
once a statement, and costs a plan of its own for each table that a statement names. There is one permissive policy:
dropping it closes the table instead of opening it. What is checked of new rows is word for word what is asked of old
ones: PostgreSQL 18 then asks once for both.
"""

from provisioning.databases.ddl import GUARD

TENANT_ID = "tenant_id"
POLICY = "tenure"
SHARED_TABLES = frozenset({"django_migrations"})  # one per pool: a pool is on one release. Readable, not writable

COLUMN = f"{TENANT_ID} uuid DEFAULT {GUARD}.tenant() NOT NULL"
USING = f"{TENANT_ID} = {GUARD}.tenant()"
CHECK = USING


def closed(table: str) -> tuple[str, str]:
    """The statements that close a new table, whose name is given as SQL."""
    return (
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        f"CREATE POLICY {POLICY} ON {table} USING ({USING}) WITH CHECK ({CHECK})",
    )
