"""Attacks on rows: SQL that runs inside a request of acme's, in the transaction and the cursor of that request."""

from collections.abc import Iterable
from functools import partial

import psycopg
from django.db import DatabaseError, connections

from examples.projects.models import Document, Project, Tag
from tenants.context import tenant_scope
from tenants.isolation import credentials
from tenants.isolation.connections import alias_of
from tests.isolation.arena import POOLED, Arena, Place, injected, request, search
from tests.isolation.attack import Attempt

NAMES = "SELECT name FROM projects_project"
DENIED = r"ProgrammingError 42501 permission denied|InsufficientPrivilege 42501"
POLICY = "42501 new row violates row-level security policy"


def sees_own(arena: Arena) -> bool:
    """The control of whatever reads: through the same view, acme's own project."""
    return search(arena.acme, arena.own) == [(arena.own,)] and injected(arena.acme, NAMES) == [(arena.own,)]


def writes_own(arena: Arena) -> bool:
    """The control of whatever writes: the same statements on rows of its own."""
    with request(arena.acme) as cursor:
        cursor.execute("UPDATE projects_member SET name = name || '' WHERE name = %s", [arena.own])
        return bool(cursor.rowcount == 1)


def attempts(arena: Arena, *texts: tuple[str, str, str]) -> Iterable[Attempt]:
    """Of (what, the right answer, SQL); `{…}` in SQL are names of this place."""
    for what, answers, text in texts:
        yield Attempt(what, answers, partial(injected, arena.acme, filled(arena, text)))


def filled(arena: Arena, text: str) -> str:
    return text.format(
        globex=arena.globex.tenant_id,
        globex_hex=arena.globex.tenant_id.hex,
        theirs=arena.neighbours_table,
        schema=arena.globex.schema,
        acme=arena.acme.tenant_id,
        canary=arena.canary,
        own=arena.own,
    )


# --- AT-01 ----------------------------------------------------------------------------------------------------


def raw(arena: Arena) -> psycopg.Connection:
    """Past Django, with what the door handed out."""
    given = credentials.of(arena.acme).database
    return psycopg.connect(
        host=given.host, port=given.port, dbname=given.name, user=given.user, password=given.password, autocommit=True
    )


def raw_names(arena: Arena) -> list[object]:
    with raw(arena) as connection:
        return list(connection.execute(f"SELECT name FROM {arena.acme.schema}.projects_project").fetchall())


def alone(arena: Arena) -> list[object]:
    with tenant_scope(arena.acme):
        connection = connections[alias_of(arena.acme)]
    with connection.cursor() as cursor:
        cursor.execute(NAMES)
        return list(cursor.fetchall())


def without_scope(arena: Arena) -> Iterable[Attempt]:
    yield Attempt("the ORM", "^NoTenant ", lambda: list(Project.objects.values_list("name", flat=True)))
    yield Attempt("the base manager", "^NoTenant ", lambda: list(Project._base_manager.values_list("name", flat=True)))
    yield Attempt("a cursor", "^NoTenant ", partial(alone, arena))
    answer = "42501 tenant context refused: no context" if arena.place in POOLED else arena.own
    yield Attempt("a connection of its own", answer, partial(raw_names, arena))


# --- AT-02 to AT-07 --------------------------------------------------------------------------------------------------


def by_name(arena: Arena) -> Iterable[Attempt]:
    yield from attempts(
        arena,
        ("by tenant", r"^\[\]$", NAMES + " WHERE tenant_id = '{globex}'"),
        (
            "by all tenants",
            f"^\\[\\('{arena.own}',\\)\\]$",
            NAMES + " WHERE true OR tenant_id = '{globex}'",
        ),
        ("its number", r"^\[\(1,\)\]$", "SELECT count(*) FROM projects_project"),
    )
    theirs = key_of(arena)

    def get() -> object:
        with tenant_scope(arena.acme):
            return list(Project.objects.filter(pk=theirs).values_list("name", flat=True))

    yield Attempt("by primary key", r"^\[\]$", get)


def key_of(arena: Arena, model: type[Project | Tag | Document] = Project) -> int:
    """Of globex's row: ids are guessed easily."""
    with tenant_scope(arena.globex):
        named = {"title" if model is Document else "name": arena.canary}
        return int(model.objects.get(**named).pk)


def put_there(arena: Arena) -> Iterable[Attempt]:
    return attempts(
        arena,
        ("insert", POLICY, "INSERT INTO projects_tag (tenant_id, name) VALUES ('{globex}', 'x')"),
        ("hand over", POLICY, "UPDATE projects_tag SET tenant_id = '{globex}' WHERE name = '{own}'"),
    )


def change_there(arena: Arena) -> Iterable[Attempt]:
    return attempts(
        arena,
        ("update", r"^\[\]$", "UPDATE projects_member SET name = 'x' WHERE tenant_id = '{globex}' RETURNING name"),
        ("update by name", r"^\[\]$", "UPDATE projects_member SET email = 'x' WHERE name = '{canary}' RETURNING 1"),
        ("delete", r"^\[\]$", "DELETE FROM projects_member WHERE tenant_id = '{globex}' RETURNING name"),
    )


def ask_uniqueness(arena: Arena) -> Iterable[Attempt]:
    insert = "INSERT INTO projects_tag (name) VALUES ('{canary}') "
    cleared = "DELETE FROM projects_tag WHERE name = '{canary}'; "
    done = r"^\[\('affected', \d\), \(1,\)\]$"
    return attempts(
        arena,
        ("insert", done, cleared + insert + "RETURNING 1"),
        ("do nothing", done, cleared + insert + "ON CONFLICT DO NOTHING RETURNING 1"),
        ("do update", done, cleared + insert + "ON CONFLICT (name) DO UPDATE SET id = 0 RETURNING (id > 0)::int"),
    )


def hears_own_unique(arena: Arena) -> bool:
    try:
        injected(arena.acme, f"INSERT INTO projects_tag (name) VALUES ('{arena.own}')")
    except DatabaseError as error:
        return getattr(error.__cause__, "sqlstate", "") == "23505"
    return False


CHILD = "INSERT INTO projects_document (project_id, file, title, size, uploaded_at) VALUES ({parent}, '', '', 0, now())"


def hang_on_theirs(arena: Arena) -> Iterable[Attempt]:
    yield from attempts(arena, ("a child of theirs", "23503", CHILD.replace("{parent}", str(key_of(arena)))))


def hangs_on_own(arena: Arena) -> bool:
    with tenant_scope(arena.acme):
        parent = Project.objects.get(name=arena.own).pk
    return injected(arena.acme, CHILD.replace("{parent}", str(parent)) + " RETURNING 1") == [(1,)]


def delete_same_id(arena: Arena) -> Iterable[Attempt]:
    """acme takes the ids of globex's project and document, and deletes both."""
    parent, child = key_of(arena), key_of(arena, Document)
    yield from attempts(
        arena,
        (
            "the same ids",
            r"^\[\('affected', 1\), \('affected', 1\)\]$",
            f"INSERT INTO projects_project (id, name, description, created_at)"
            f" VALUES ({parent}, 'same', '', now()); INSERT INTO projects_document (id, project_id, file, title, size,"
            f" uploaded_at) VALUES ({child}, {parent}, '', '', 0, now())".replace("; ", " ON CONFLICT DO NOTHING; "),
        ),
        (
            "delete them",
            r"^\[\(1,\), \(1,\)\]$",
            (
                f"DELETE FROM projects_document WHERE id = {child} RETURNING 1;"
                f" DELETE FROM projects_project WHERE id = {parent} RETURNING 1"
            ),
        ),
    )


# --- AT-10 to AT-12 --------------------------------------------------------------------------------------------------


def in_bulk(arena: Arena) -> Iterable[Attempt]:
    if arena.place is not Place.DATABASE:
        yield from attempts(
            arena,
            ("truncate", DENIED, "TRUNCATE {theirs} CASCADE"),
            ("truncate members", DENIED, 'TRUNCATE "{schema}".projects_member CASCADE'),
        )
    yield from attempts(arena, ("truncate here", DENIED, "TRUNCATE projects_project, projects_member CASCADE"))
    yield from attempts(
        arena,
        ("copy out by injection", "COPY cannot be used|cannot be used with", "COPY projects_project TO STDOUT"),
        ("copy from a program", DENIED, "COPY projects_tag (name) FROM PROGRAM 'true'"),
        ("copy to a file", DENIED, "COPY projects_tag TO 'stolen'"),
    )

    def copied(text: str) -> object:
        with request(arena.acme) as cursor, cursor.copy(filled(arena, text)) as copy:
            return b"".join(bytes(part) for part in copy)

    yield Attempt("copy out", f"^b'{arena.own}", partial(copied, "COPY (SELECT name FROM projects_project) TO STDOUT"))
    if arena.place in POOLED:
        yield Attempt("copy in", "0A000", partial(copied, "COPY projects_tag (tenant_id, name) FROM STDIN"))


def switch_off(arena: Arena) -> Iterable[Attempt]:
    owner = "42501 must be owner"
    return attempts(
        arena,
        ("for the session", "42501 query would be affected", "SET LOCAL row_security = off; " + NAMES),
        ("no longer enabled", owner, "ALTER TABLE projects_project DISABLE ROW LEVEL SECURITY; " + NAMES),
        ("no longer forced", owner, "ALTER TABLE projects_project NO FORCE ROW LEVEL SECURITY; " + NAMES),
        ("drop the policy", owner, "DROP POLICY tenure ON projects_project; " + NAMES),
        ("another policy", owner, "CREATE POLICY mine ON projects_project USING (true); " + NAMES),
        ("own the guard", owner, "ALTER FUNCTION tenure_guard.tenant OWNER TO CURRENT_USER; " + NAMES),
        (
            "replace the guard",
            "42501 permission denied for schema tenure_guard",
            "CREATE OR REPLACE FUNCTION tenure_guard.tenant(writing boolean DEFAULT false) RETURNS uuid"
            " LANGUAGE sql AS $$SELECT '{globex}'::uuid$$; " + NAMES,
        ),
    )


def by_errors(arena: Arena) -> Iterable[Attempt]:
    none, own = r"^\[\(1,\)\]$", f'22P02 invalid input syntax for type integer: "{arena.own}"'
    cheap = "CREATE FUNCTION pg_temp.peek(text) RETURNS bool COST 0.0001 LANGUAGE plpgsql AS"
    return attempts(
        arena,
        ("divide", none, "SELECT 1 / (CASE WHEN tenant_id = '{globex}' THEN 0 ELSE 1 END) FROM projects_project"),
        ("cast", own, "SELECT CAST(name AS integer) FROM projects_project ORDER BY name DESC"),
        (
            "cast in a condition",
            r"^\[\]$",
            "SELECT 1 FROM projects_project WHERE name LIKE 'canary%' AND name::int = 1",
        ),
        (
            "a function of its own",
            "42501",
            cheap
            + " $$BEGIN RAISE NOTICE '%', $1; RETURN true; END$$;"
            + " SELECT 1 FROM projects_project WHERE pg_temp.peek(name)",
        ),
    )


def hears_own_error(arena: Arena) -> bool:
    try:
        injected(arena.acme, "SELECT CAST(name AS integer) FROM projects_project")
    except DatabaseError as error:
        return arena.own in str(error)
    return False


# --- AT-27, AT-29, AT-33 ---------------------------------------------------------------------------------------------


def reach_schema(arena: Arena) -> Iterable[Attempt]:
    hidden = "42501 permission denied for schema"
    return attempts(
        arena,
        ("read", hidden, "SELECT name FROM {theirs}"),
        ("write", hidden, "UPDATE {theirs} SET name = 'x'"),
        ("delete", hidden, 'DELETE FROM "{schema}".projects_document'),
        ("by the path", "42P01", 'SET LOCAL search_path = "{schema}"; ' + NAMES),
        ("a table that is missing here", "42P01", "SELECT * FROM vault_of_globex"),
        ("enter as in a pool", "42501 permission denied for schema tenure_guard", "SELECT tenure_guard.tenant()"),
        ("take the schema", "42501 must be owner", 'DROP SCHEMA "{schema}" CASCADE'),
        ("a table in it", hidden, 'CREATE TABLE "{schema}".mine (name text)'),
    )


def other_databases(arena: Arena) -> Iterable[Attempt]:
    given = credentials.of(arena.acme).database
    shared = {"tenure_cluster"} if arena.place is Place.DATABASE else set()

    def connect(name: str) -> object:
        with psycopg.connect(
            host=given.host, port=given.port, dbname=name, user=given.user, password=given.password
        ) as connection:
            table = f'"{arena.globex.schema}".projects_project' if name == arena.globex.database else "pg_database"
            return connection.execute(f"SELECT * FROM {table}").fetchall()

    denied = "permission denied for database"
    theirs = {arena.globex.database} if arena.place is Place.DATABASE else set()
    for name in sorted({"postgres", "template1", "tenure", "tenure_keyring"} | shared | theirs):
        yield Attempt(name, denied, partial(connect, name))
    if arena.place is Place.DATABASE:
        text = f'SELECT name FROM "{arena.globex.database}".{arena.globex.schema}.projects_project'
        yield Attempt("by name", "0A000 cross-database", partial(injected, arena.acme, text))
        yield Attempt("by dblink", "0A000|42501", partial(injected, arena.acme, "CREATE EXTENSION dblink"))


def connects(arena: Arena) -> bool:
    with raw(arena) as connection:
        return connection.execute("SELECT 1").fetchall() == [(1,)]
