"""What a tenant application may not bring along: a copy of it in a shared database would not stay in its schema."""

from provisioning.databases.ddl import DEDICATED_SCHEMA
from provisioning.databases.dump import Dump
from provisioning.databases.servers import Connection
from provisioning.errors import Permanent

_OUTSIDE = """
    SELECT 'the schema ' || nspname || ' (a tenant has one schema)' FROM pg_namespace
    WHERE nspname <> ALL (ARRAY[%(schema)s, 'public', 'information_schema']) AND nspname NOT LIKE 'pg\\_%%'
    UNION ALL
    SELECT 'the extension ' || extname || ' (extensions belong to a database, not to a tenant)' FROM pg_extension
    WHERE extname <> 'plpgsql'
    UNION ALL
    SELECT 'the table or view public.' || relname FROM pg_class WHERE relnamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'the function public.' || proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'the function ' || proname || ' with SECURITY DEFINER (it would run as the owner of every tenant''s rows)'
    FROM pg_proc WHERE pronamespace = %(schema)s::regnamespace AND prosecdef
    UNION ALL
    SELECT 'the foreign server ' || srvname FROM pg_foreign_server
    UNION ALL
    SELECT 'the publication ' || pubname FROM pg_publication
    UNION ALL
    SELECT 'large objects (they lie outside of every schema)' WHERE EXISTS (SELECT FROM pg_largeobject_metadata)
    ORDER BY 1
"""


class BlueprintRefused(Permanent):
    """The tenant application makes things that cannot be kept inside one tenant."""

    code = "RELEASE_REFUSED"
    cure = "Change the migration that makes it, or leave its app out of TENANT_APPS."


def refuse_unsafe(connection: Connection, schema: str, made: Dump) -> None:
    """Look through a migrated blueprint. Raises BlueprintRefused, naming everything found."""
    found = [str(what) for (what,) in connection.execute(_OUTSIDE, {"schema": schema}).fetchall()]
    if any(DEDICATED_SCHEMA in text for text in (made.script, made.finish, *(table["copy"] for table in made.seed))):
        found.append(f"the word {DEDICATED_SCHEMA} (it is the schema's name in databases of one tenant)")
    if found:
        raise BlueprintRefused(f"The migrations make {'; '.join(found)}.")
