"""Boundaries of PostgreSQL and of the guard, weakened one at a time."""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from functools import partial
from pathlib import Path

from psycopg import Connection, sql

from provisioning.databases import guard, pooling
from provisioning.databases.keeping import PARAMETER
from provisioning.databases.pooling.boundary import POLICY, closed
from provisioning.databases.servers import connect
from tenants import context as scopes
from tenants.models import Cluster
from tests.isolation.arena import ALL, POOLED, Arena, Place
from tests.isolation.attack import Shows
from tests.isolation.weakened.weakening import Weakening, changed, patched

CANARY, CHANGE, ANSWER = Shows.CANARY, Shows.CHANGE, Shows.ANSWER
TABLES = "projects_tag projects_member projects_project projects_document".split()


def policy(arena: Arena, *, using: str, check: str) -> AbstractContextManager[None]:
    """Another policy on each table than the compiler's."""
    weak, restored = [], []
    for table in TABLES:
        drop = f"DROP POLICY {POLICY} ON {{schema}}.{table}"
        weak += [drop, f"CREATE POLICY {POLICY} ON {{schema}}.{table} USING ({using}) WITH CHECK ({check})"]
        restored += [drop, closed(f"{{schema}}.{table}")[1]]
    return changed(arena, "; ".join(weak), "; ".join(restored))


def everybodys(arena: Arena) -> AbstractContextManager[None]:
    return policy(arena, using="true", check="true")


def unchecked(arena: Arena) -> AbstractContextManager[None]:
    return policy(arena, using=closed("x")[1].partition("USING (")[2].rpartition(") WITH CHECK")[0], check="true")


def settable(arena: Arena) -> AbstractContextManager[None]:
    """The guard's parameter is anybody's, as a setting of our own making would be."""
    right = f"SET ON PARAMETER {PARAMETER}"
    # Who may set it may also make it the default of its role, which outlives the right.
    restored = f"REVOKE {right} FROM PUBLIC; ALTER ROLE {{role}} RESET {PARAMETER}"
    return changed(arena, f"GRANT {right} TO PUBLIC", restored)


def unforced(arena: Arena) -> AbstractContextManager[None]:
    table = "ALTER TABLE {schema}.projects_project"
    return changed(arena, f"{table} NO FORCE ROW LEVEL SECURITY", f"{table} FORCE ROW LEVEL SECURITY")


def owned(arena: Arena) -> AbstractContextManager[None]:
    """The application's role owns a table, as where it migrates by itself."""
    table = "{schema}.projects_project"
    return changed(
        arena,
        f"ALTER TABLE {table} OWNER TO {{role}}",
        f"ALTER TABLE {table} OWNER TO tenure_owner; DROP POLICY IF EXISTS mine ON {table};"
        f" DROP POLICY IF EXISTS {POLICY} ON {table}; {'; '.join(closed(table))}",
    )


def bypassing(arena: Arena) -> AbstractContextManager[None]:
    return changed(arena, "ALTER ROLE {role} BYPASSRLS", "ALTER ROLE {role} NOBYPASSRLS")


def unique_over_all(arena: Arena) -> AbstractContextManager[None]:
    weak = "CREATE UNIQUE INDEX over_all ON {schema}.projects_tag (name) WHERE id > 4"
    return changed(arena, weak, "DROP INDEX {schema}.over_all")


def referring_to_all(arena: Arena) -> AbstractContextManager[None]:
    """The application's foreign key as Django writes it, beside the one in pairs, which is taken away."""
    with arena.superuser() as superuser:
        found = superuser.execute(
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE contype = 'f' AND conrelid = %s::regclass",
            (f"{arena.acme.schema}.projects_document",),
        ).fetchall()
    ((name, text),) = found
    document, project = "{schema}.projects_document", "{schema}.projects_project"
    return changed(
        arena,
        f'ALTER TABLE {document} DROP CONSTRAINT "{name}"; CREATE UNIQUE INDEX over_all ON {project} (id);'
        f" ALTER TABLE {document} ADD CONSTRAINT to_all FOREIGN KEY (project_id) REFERENCES {project} (id)",
        f"ALTER TABLE {document} DROP CONSTRAINT to_all; DROP INDEX {{schema}}.over_all;"
        f" DELETE FROM {document} WHERE title = ''; ALTER TABLE {document} ADD CONSTRAINT \"{name}\" {text}",
    )


def granted_unseen(_arena: Arena) -> AbstractContextManager[None]:
    """Whatever the owner makes is granted, without the catalog check."""

    def grant(connection: Connection, schema: str, group: str) -> list[object]:
        names = {"schema": sql.Identifier(schema), "group": sql.Identifier(group)}
        text = (
            "GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {group};"
            " GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {schema} TO {group}"
        )
        connection.execute(sql.SQL(text).format(**names))
        return []

    return patched(pooling, "grant", grant)


def may_truncate(arena: Arena) -> AbstractContextManager[None]:
    tables = "ON ALL TABLES IN SCHEMA {theirs}"
    if arena.place is Place.DATABASE:
        tables = "ON ALL TABLES IN SCHEMA {schema}"
    usage = "USAGE ON SCHEMA {theirs}" if arena.place is Place.SCHEMA else "USAGE ON SCHEMA {schema}"
    restored = f"REVOKE TRUNCATE {tables} FROM {{role}}"
    if arena.place is Place.SCHEMA:
        restored += "; REVOKE USAGE ON SCHEMA {theirs} FROM {role}"
    if arena.place in POOLED:
        restored += "; REVOKE USAGE ON SCHEMA {schema} FROM {role}"
    return changed(arena, f"GRANT {usage} TO {{role}}; GRANT TRUNCATE {tables} TO {{role}}", restored)


def may_become(arena: Arena) -> AbstractContextManager[None]:
    other = "{globex}" if arena.place is Place.DATABASE else "tenure_verifier"
    return changed(arena, f"GRANT {other} TO {{role}} WITH INHERIT FALSE, SET TRUE", f"REVOKE {other} FROM {{role}}")


@contextmanager
def unsigned(arena: Arena, *, role_too: bool) -> Iterator[None]:
    """The guard takes every ticket; with `role_too`, whoever logged in."""
    weak = Path(guard.__file__).with_name("guard.sql").read_text()
    for condition in (r"sha256\(sha256\(t\.key.*", *((r"\(session_user NOT.*",) if role_too else ())):
        weak, replaced = re.subn(condition, "true", weak)
        assert replaced == 1
    cluster = cluster_of(arena)
    with arena.superuser() as superuser:
        superuser.execute(f"SET ROLE tenure_guard; {weak}; RESET ROLE".encode())
    try:
        yield
    finally:
        with connect(cluster) as connection:
            guard.install(connection, cluster=cluster, database=arena.acme.database)


def cluster_of(arena: Arena) -> Cluster:
    return Cluster.objects.get(name=arena.acme.cluster)


def open_keys(arena: Arena) -> AbstractContextManager[None]:
    tables = "ON tenure_guard.context_key, tenure_guard.placement, tenure_guard.ticket_key"
    return changed(arena, f"GRANT SELECT {tables} TO {{role}}", f"REVOKE SELECT {tables} FROM {{role}}")


def schema_open(arena: Arena) -> AbstractContextManager[None]:
    right = "USAGE ON SCHEMA {theirs}", "SELECT ON ALL TABLES IN SCHEMA {theirs}"
    return changed(
        arena,
        "; ".join(f"GRANT {each} TO {{role}}" for each in right),
        "; ".join(f"REVOKE {each} FROM {{role}}" for each in right),
    )


@contextmanager
def database_open(arena: Arena) -> Iterator[None]:
    """What PostgreSQL does by itself: everybody may connect."""
    if arena.place is not Place.DATABASE:
        name = "ON DATABASE template1"
        with changed(arena, f"GRANT CONNECT {name} TO PUBLIC", f"REVOKE CONNECT {name} FROM PUBLIC"):
            yield
        return
    rights = (
        "CONNECT ON DATABASE {database}",
        "USAGE ON SCHEMA {theirs}",
        "SELECT ON ALL TABLES IN SCHEMA {theirs}",
    )
    with changed(
        arena,
        "; ".join(f"GRANT {each} TO PUBLIC" for each in rights),
        "; ".join(f"REVOKE {each} FROM PUBLIC" for each in rights),
        at=arena.globex,
    ):
        yield


def door_left_open(_arena: Arena) -> AbstractContextManager[None]:
    return patched(guard, "close_door", lambda *_: None)


def default_tenant(arena: Arena) -> AbstractContextManager[None]:
    """A process that falls back to some tenant where none was said."""
    return patched(scopes, "_scope", ContextVar("careless", default=arena.globex))


WEAKENINGS = (
    Weakening("a default tenant", default_tenant, {"AT-01": CANARY}),
    Weakening(
        "a policy for everybody",
        everybodys,
        {"AT-01": CANARY, "AT-02": CANARY, "AT-04": CHANGE, "AT-07": CHANGE, "AT-12": CANARY},
        POOLED,
    ),
    Weakening("a role that bypasses row security", bypassing, {"AT-02": CANARY, "AT-11": CANARY}, POOLED),
    Weakening("a policy that does not look at writes", unchecked, {"AT-03": CHANGE}, POOLED),
    Weakening("uniqueness over all tenants", unique_over_all, {"AT-05": ANSWER}, POOLED),
    Weakening("a foreign key over all tenants", referring_to_all, {"AT-06": ANSWER}, POOLED),
    Weakening("grants without the catalog check", granted_unseen, {"AT-08": CANARY, "AT-09": CANARY}, POOLED),
    Weakening(
        "the right to truncate", may_truncate, {"AT-10": CHANGE}, frozenset({Place.POOL, Place.OWN_ROLE, Place.SCHEMA})
    ),
    Weakening("the right to truncate one's own", may_truncate, {"AT-10": ANSWER}, frozenset({Place.DATABASE})),
    Weakening("a table of the application's own", owned, {"AT-11": CANARY}, POOLED),
    Weakening(
        "a parameter that everybody may set",
        settable,
        {"AT-13": CANARY, "AT-14": CANARY, "AT-15": CANARY, "AT-16": CANARY},
        POOLED,
    ),
    Weakening("a role to take", may_become, {"AT-17": CANARY}, ALL - {Place.DATABASE}),
    Weakening("globex's role to take", may_become, {"AT-17": ANSWER}, frozenset({Place.DATABASE})),
    Weakening(
        "a guard without signatures", partial(unsigned, role_too=False), {"AT-18": CANARY}, frozenset({Place.POOL})
    ),
    Weakening(
        "a guard without signatures and roles",
        partial(unsigned, role_too=True),
        {"AT-18": CANARY},
        frozenset({Place.OWN_ROLE}),
    ),
    Weakening("keys that can be read", open_keys, {"AT-19": CANARY}, frozenset({Place.POOL})),
    Weakening("keys that can be read, of no use", open_keys, {"AT-19": ANSWER}, frozenset({Place.OWN_ROLE})),
    Weakening("rights in globex's schema", schema_open, {"AT-27": CANARY}, frozenset({Place.SCHEMA})),
    Weakening("databases open to PUBLIC", database_open, {"AT-29": ANSWER}, ALL - {Place.DATABASE}),
    Weakening("globex's database open to PUBLIC", database_open, {"AT-29": CANARY}, frozenset({Place.DATABASE})),
    Weakening("a door that stays open", door_left_open, {"AT-32": ANSWER}, POOLED),
    Weakening("row security that does not bind the owner", unforced, {"AT-33": CHANGE}, POOLED),
)
