"""What PostgreSQL lets everybody do that the tenants of a pool may not, since they share a login role.

A role sees the running statements of its own other sessions, values and all, may end them, and may keep rows that no
policy knows (large objects). Only a superuser can take that from PUBLIC; `check_cluster` says where it was not taken.
No Django in here: the embedded stack reads this before there are settings.
"""

from psycopg import sql

STATISTICS, SIGNALS = "pg_read_all_stats", "pg_signal_backend"  # PostgreSQL's own groups, for who has a need
FUNCTIONS: dict[str, str] = {
    "pg_stat_get_activity(integer)": STATISTICS,
    "pg_stat_get_backend_activity(integer)": STATISTICS,
    "pg_cancel_backend(integer)": SIGNALS,
    "pg_terminate_backend(integer, bigint)": SIGNALS,
    "lo_creat(integer)": "",
    "lo_create(oid)": "",
    "lo_from_bytea(oid, bytea)": "",
    "lo_open(oid, integer)": "",
    "lo_get(oid)": "",
    "lo_get(oid, bigint, integer)": "",
    "lo_put(oid, bigint, bytea)": "",
}
"""Each with the group that keeps it, if any."""
VIEW = "pg_stat_activity"


def hide() -> str:
    """The statements, for a superuser, in the database that holds pools. Safe to run again."""
    return " ".join(
        [
            f"REVOKE SELECT ON pg_catalog.{VIEW} FROM PUBLIC;",
            f"GRANT SELECT ON pg_catalog.{VIEW} TO {STATISTICS};",
            f"REVOKE EXECUTE ON FUNCTION {', '.join(f'pg_catalog.{name}' for name in FUNCTIONS)} FROM PUBLIC;",
            *(f"GRANT EXECUTE ON FUNCTION pg_catalog.{name} TO {group};" for name, group in FUNCTIONS.items() if group),
        ]
    )


def open_to_all() -> sql.Composed:
    """A query for the names of what is not hidden in the current database."""
    return sql.SQL(
        "SELECT {view} WHERE has_table_privilege('public', {view}, 'SELECT') UNION ALL"
        " SELECT name FROM unnest({names}::text[]) AS name WHERE has_function_privilege('public', name, 'EXECUTE')"
    ).format(view=sql.Literal(VIEW), names=sql.Literal(list(FUNCTIONS)))
