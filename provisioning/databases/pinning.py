"""Every function of a tenant application looks names up in its own schema.

# Note [Functions know their schema]
What a referential action sets off (triggers, functions in a CHECK, a default or an index) runs as the owner of the
tables, who owns every tenant's schema, and would look names up on the search path of the session. A session belongs to
its tenant: after an injected `SET search_path` to another tenant's schema, the tenant's own DELETE made its trigger
read and write the other's tables (tried). So each function says for itself where it looks, in the blueprint, and so in
every copy of it. What says so already is left as it is.
Left out are procedures, which could not COMMIT any more, and bodies in standard SQL, whose names were looked up when
they were made: whatever runs as the owner begins in a trigger or an expression, and a path holds for all it calls.
An SQL function in quotes pays with its inlining; written as a standard body it keeps that.
No path helps a function that makes SQL out of the text in its rows: use format('%I …') and EXECUTE … USING.
"""

from typing import Any

_UNPINNED = """
    SELECT format('ALTER FUNCTION %s SET search_path = %I, pg_temp', p.oid::regprocedure, n.nspname)
    FROM pg_catalog.pg_proc p
    JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace AND n.nspname = current_schema()
    JOIN pg_catalog.pg_language l ON l.oid = p.prolang AND l.lanname NOT IN ('internal', 'c')
    WHERE p.prokind = 'f' AND p.prosqlbody IS NULL AND NOT EXISTS (
        SELECT FROM unnest(p.proconfig) AS setting WHERE starts_with(setting, 'search_path='))
    ORDER BY 1
"""


def pin(cursor: Any) -> list[str]:
    """Pin the functions of the schema that the session's search path names. Returns the statements that did it.

    `cursor` is one of Django's, or of psycopg's.
    """
    cursor.execute(_UNPINNED)
    statements = [str(statement) for (statement,) in cursor.fetchall()]
    for statement in statements:
        cursor.execute(statement)
    return statements
