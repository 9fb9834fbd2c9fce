"""The words of our DDL: fixed names, and statements composed by `psycopg.sql`, so that no name is pasted into text."""

from pathlib import Path

from psycopg import sql

OWNER = "tenure_owner"  # NOLOGIN; owns every object of every tenant
VERIFIER = "tenure_verifier"  # NOLOGIN, BYPASSRLS, read-only; for counts and audits, reached by SET ROLE
GUARD = "tenure_guard"  # NOLOGIN; owns the schema of this name, which decides whose rows a pooled session sees
HOUSE = "tenure"  # the schema of our own things in each database: fence rows, markers of replays, the stamp
DEDICATED_SCHEMA = (
    "tenure_tenant"  # the tenant's schema in a database of its own; see Note [One schema name in dedicated databases]
)

# Note [One schema name in dedicated databases]
# CREATE DATABASE … TEMPLATE copies files and cannot rename anything, so a schema named after the tenant would cost an
# ALTER in every copy. The name is fixed instead, and told to callers by Placement.schema. It must be a word that no
# tenant application contains, because a fingerprint replaces the schema's name in texts; publishing checks that.

# How far a target is along a path that takes more than one transaction; see replaying's markers.
REPLAY = """
    CREATE TABLE IF NOT EXISTS {house}.replay (
        target text PRIMARY KEY, path uuid NOT NULL, done integer NOT NULL, cursor jsonb);
"""
# One row that no policy shows to anybody: who finds it is past row security. Verifiers begin with it (see vantage.py).
CONTROL = """
    CREATE TABLE IF NOT EXISTS {house}.control (tenant_id uuid PRIMARY KEY);
    INSERT INTO {house}.control SELECT '00000000-0000-4000-8000-000000000000'
        WHERE NOT EXISTS (SELECT FROM pg_class WHERE oid = to_regclass({control}) AND relrowsecurity);
    ALTER TABLE {house}.control ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
    GRANT USAGE ON SCHEMA {house} TO {verifier};
    GRANT SELECT ON {house}.control TO {verifier};
"""
STAMP = sql.SQL(Path(__file__).with_name("stamp.sql").read_text())  # functions in HOUSE; see stamp.py
DEPARTURE = sql.SQL(Path(__file__).with_name("departure.sql").read_text())

TENANT_TABLE_RIGHTS = sql.SQL("SELECT, INSERT, UPDATE, DELETE")
TENANT_SEQUENCE_RIGHTS = sql.SQL("USAGE, SELECT")


# GRANT and REVOKE on one database from two transactions at once end in "tuple concurrently updated" (tried: six roles
# side by side), since they rewrite the same row of pg_database. Whoever is about to takes this lock until its commit.
ONE_GRANT_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtextextended('tenure: grants on databases', 0))"


def prepare_database() -> sql.Composed:
    """What each database that holds tenants needs, once: nothing for PUBLIC, fence and stamp, the verifier's eyes.

    Default privileges make every schema and table that the owner will ever create readable to the verifier, so that a
    copy needs no grants of its own. Safe to run again.
    """
    rights = sql.SQL(
        """
        REVOKE ALL ON SCHEMA public FROM PUBLIC;
        CREATE SCHEMA IF NOT EXISTS {house};
        CREATE TABLE IF NOT EXISTS {house}.fence (
            tenant_id uuid PRIMARY KEY, fence bigint NOT NULL, run_id uuid NOT NULL);
        """
        + REPLAY
        + CONTROL
        + """
        ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT USAGE ON SCHEMAS TO {verifier};
        ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT SELECT ON TABLES TO {verifier};
        ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT SELECT ON SEQUENCES TO {verifier};
        ALTER DEFAULT PRIVILEGES FOR ROLE {owner} REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
        """
    ).format(
        house=sql.Identifier(HOUSE),
        control=sql.Literal(f"{HOUSE}.control"),
        owner=sql.Identifier(OWNER),
        verifier=sql.Identifier(VERIFIER),
    )
    return rights + STAMP + DEPARTURE


def grant_schema(schema: str, role: str) -> sql.Composed:
    """One role's way into one schema: what is there now, and what a later migration adds. Safe to run again."""
    return sql.SQL(
        """
        GRANT USAGE ON SCHEMA {schema} TO {role};
        GRANT {tables} ON ALL TABLES IN SCHEMA {schema} TO {role};
        GRANT {sequences} ON ALL SEQUENCES IN SCHEMA {schema} TO {role};
        GRANT EXECUTE ON ALL ROUTINES IN SCHEMA {schema} TO {role};
        ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema} GRANT {tables} ON TABLES TO {role};
        ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema} GRANT {sequences} ON SEQUENCES TO {role};
        ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema} GRANT EXECUTE ON ROUTINES TO {role};
        """
    ).format(
        schema=sql.Identifier(schema),
        role=sql.Identifier(role),
        owner=sql.Identifier(OWNER),
        tables=TENANT_TABLE_RIGHTS,
        sequences=TENANT_SEQUENCE_RIGHTS,
    )


def join(group: str, role: str) -> sql.Composed:
    """The role has what the group has, and can neither become the group nor see sessions of its other members."""
    return sql.SQL("GRANT {} TO {} WITH INHERIT TRUE, SET FALSE").format(sql.Identifier(group), sql.Identifier(role))


def grant_connect(database: str, role: str) -> sql.Composed:
    return sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(database), sql.Identifier(role))


def create_database(name: str, *, template: str) -> sql.Composed:
    """Closed to everybody until its grants are right: a copy does not inherit the grants of its template.

    WAL_LOG copies page by page through the log; FILE_COPY would force two checkpoints of the whole server.
    """
    return sql.SQL(
        "CREATE DATABASE {name} OWNER {owner} TEMPLATE {template} STRATEGY wal_log ALLOW_CONNECTIONS false"
    ).format(name=sql.Identifier(name), owner=sql.Identifier(OWNER), template=sql.Identifier(template))


def close_database(name: str) -> sql.Composed:
    return sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name))


def open_to_granted(name: str) -> sql.Composed:
    """Nobody in general, then whoever was granted it: in this order there is no moment of an open door."""
    return sql.SQL("REVOKE ALL ON DATABASE {0} FROM PUBLIC; ALTER DATABASE {0} ALLOW_CONNECTIONS true").format(
        sql.Identifier(name)
    )


def seal_template(name: str) -> sql.Composed:
    """A template must have no sessions, or copying it fails. The mark comes last: without it, it is unfinished."""
    return sql.SQL("ALTER DATABASE {0} ALLOW_CONNECTIONS false; ALTER DATABASE {0} IS_TEMPLATE true").format(
        sql.Identifier(name)
    )


def unseal_template(name: str) -> sql.Composed:
    """A template cannot be dropped."""
    return sql.SQL("ALTER DATABASE {} IS_TEMPLATE false").format(sql.Identifier(name))


def disown(role: str) -> sql.Composed:
    """Take a role's grants in the current database, so that it can be dropped. It owns nothing.

    Only who has the role's privileges may; its creator may grant them to itself.
    """
    return sql.SQL("GRANT {0} TO CURRENT_USER WITH INHERIT TRUE; DROP OWNED BY {0}").format(sql.Identifier(role))


def drop_database(name: str) -> sql.Composed:
    return sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))


def drop_schema(name: str) -> sql.Composed:
    return sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(name))


def become_owner() -> sql.Composed:
    """For the rest of the transaction. An empty search path makes every name that is not written out an error."""
    return sql.SQL("SET LOCAL ROLE {}; SET LOCAL search_path = ''; SET LOCAL check_function_bodies = off").format(
        sql.Identifier(OWNER)
    )
