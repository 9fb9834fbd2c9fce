"""What the planner remembers of rows that are gone.

# Note [Statistics keep values]
The most common values and the bounds of histograms are rows' values, and stay when the rows go: ANALYZE leaves those of
a table that is empty now as they are. So they are cleared and made anew from the rows that are left, in one
transaction: nobody plans without. Statistics over several columns have no such function; they are dropped and made
again. What an ANALYZE of somebody else's has read meanwhile has seen no row that is gone (tried on PostgreSQL 18).
"""

from psycopg import sql

from provisioning.databases import ddl
from provisioning.databases.erasing.places import Lease, bounded
from provisioning.databases.servers import Connection, run

# Of the table, and of its indexes on expressions, which have statistics of their own. By the columns there are, since
# pg_stats shows an owner nothing of a table whose row security is forced.
_CLEAR = """
    SELECT pg_clear_attribute_stats(%(schema)s, c.relname, a.attname, inherited)
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    CROSS JOIN (VALUES (false), (true)) AS either (inherited)
    WHERE c.oid = to_regclass(%(name)s) OR c.oid IN (
        SELECT indexrelid FROM pg_index WHERE indrelid = to_regclass(%(name)s) AND indexprs IS NOT NULL)
"""
_EXTENDED = """
    SELECT format('%%I.%%I', n.nspname, e.stxname), pg_get_statisticsobjdef(e.oid) FROM pg_statistic_ext e
    JOIN pg_namespace n ON n.oid = e.stxnamespace JOIN pg_class c ON c.oid = e.stxrelid
    WHERE c.oid = to_regclass(%(name)s)
"""
_TABLES = """
    SELECT relname::text, relkind = 'm' FROM pg_class
    WHERE relnamespace = to_regnamespace(%s) AND relkind IN ('r', 'm') AND pg_get_userbyid(relowner) = %s ORDER BY oid
"""


def forget_values(connection: Connection, schema: str, *, lease: Lease, tables: frozenset[str] | None = None) -> int:
    """Statistics of these tables (None: of all) know only rows that are there now; how many tables were looked at.

    Materialised views are refreshed, whatever the tables: they hold copies of rows. Each is a transaction of its own.
    """
    there = run(connection, _TABLES, schema, ddl.OWNER)
    chosen = [(str(name), bool(copy)) for name, copy in there if copy or tables is None or name in tables]
    for name, is_copy in chosen:
        lease()
        table = sql.Identifier(schema, name)
        given = {"schema": schema, "name": table.as_string()}
        with bounded(connection, statement="600s"):
            run(connection, sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(ddl.OWNER)))
            if is_copy:
                run(connection, sql.SQL("REFRESH MATERIALIZED VIEW {}").format(table))
            for object_, definition in connection.execute(_EXTENDED, given).fetchall():
                run(connection, sql.SQL(f"DROP STATISTICS {object_}; {definition}"))
            connection.execute(_CLEAR, given)
            run(connection, sql.SQL("ANALYZE {}").format(table))
            run(connection, "RESET ROLE")
    return len(chosen)
