"""What keeps tenants apart in one pooled table: a column, its default, and one policy.

# Note [The boundary of a pooled table]
The default may trust the claim in the seal, since the policy's WITH CHECK verifies it, once a statement instead of once
a row. The call stands in a sub-select: PostgreSQL then runs it once a statement, and what was true when the statement
began stays true until it ends. There is one permissive policy: dropping it closes the table instead of opening it.
What is checked of new rows is word for word what is asked of old ones: PostgreSQL 18 then asks once for both, and an
INSERT with RETURNING, as Django writes them, calls the guard once instead of twice, an UPDATE twice instead of thrice.
"""

from provisioning.databases.ddl import GUARD

TENANT_ID = "tenant_id"
POLICY = "tenure"
SHARED_TABLES = frozenset({"django_migrations"})  # one per pool: a pool is on one release. Readable, not writable

COLUMN = f"{TENANT_ID} uuid DEFAULT nullif(left(current_setting('tenure.seal', true), 36), '')::uuid NOT NULL"
USING = f"{TENANT_ID} = (SELECT {GUARD}.tenant())"
CHECK = USING


def closed(table: str) -> tuple[str, str]:
    """The statements that close a new table, whose name is given as SQL."""
    return (
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        f"CREATE POLICY {POLICY} ON {table} USING ({USING}) WITH CHECK ({CHECK})",
    )
