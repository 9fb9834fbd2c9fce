"""Attacks on the signed context of pooled tables, and on whom a session may be."""

import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from typing import Any
from uuid import uuid4

from examples.projects.models import Project
from provisioning.databases import guard
from provisioning.databases.servers import connect
from tenants.context import tenant_scope
from tenants.isolation import credentials
from tenants.isolation.tickets import ERASE, ContextKey, mint
from tenants.models import Cluster
from tests.isolation.arena import Arena, Place, injected, request
from tests.isolation.attack import Attempt
from tests.isolation.rows import NAMES, attempts, raw

NO_CONTEXT, BAD_SEAL = (f"42501 tenant context refused: {reason}" for reason in ("no context", "bad seal"))
ONLY_OURS = "42501 tenant context refused: (may only read and delete|no application erases)"
SEAL = "current_setting('tenure.seal')"


def set_to(value: str) -> str:
    return f"SELECT set_config('tenure.seal', {value}, true); {NAMES}"


def spoil(arena: Arena) -> Iterable[Attempt]:
    """AT-13: absent, empty, cut, long, and SQL."""
    return attempts(
        arena,
        ("empty", NO_CONTEXT, set_to("''")),
        ("reset", NO_CONTEXT, f"RESET tenure.seal; {NAMES}"),
        ("after its transaction", "42P01", f"COMMIT; {NAMES}"),
        (
            "after its transaction, by the schema",
            NO_CONTEXT,
            f"COMMIT; SELECT name FROM {arena.acme.schema}.projects_project",
        ),
        ("the tenant alone", BAD_SEAL, set_to("'{globex}'")),
        ("cut", BAD_SEAL, set_to(f"left({SEAL}, 60)")),
        ("long", BAD_SEAL, set_to("repeat('x', 10000)")),
        ("SQL", BAD_SEAL, set_to("left(" + SEAL + ", 36) || $$' or 1=1 --$$")),
        ("discarded", "25001|42501", f"DISCARD ALL; {NAMES}"),
    )


def edit(arena: Arena) -> Iterable[Attempt]:
    """AT-14: globex's name in acme's seal."""
    return attempts(
        arena,
        ("with acme's proof", BAD_SEAL, set_to(f"'{{globex}}' || substr({SEAL}, 37)")),
        ("with a made-up proof", BAD_SEAL, set_to(f"'{{globex}}.{secrets.token_hex(32)}' || substr({SEAL}, 102)")),
        ("under an unknown key", BAD_SEAL, set_to(f"'{{globex}}' || left(substr({SEAL}, 37), -1) || '7'")),
        ("of a shorter form", BAD_SEAL, set_to(f"'{{globex}}' || right({SEAL}, 1)")),
        ("by SET", BAD_SEAL, "SET LOCAL tenure.seal = '{globex}." + "0" * 64 + ".1'; " + NAMES),
        (
            "and written with it",
            BAD_SEAL,
            (
                f"SELECT set_config('tenure.seal', '{{globex}}' || substr({SEAL}, 37), true);"
                " INSERT INTO projects_tag (name) VALUES ('x')"
            ),
        ),
    )


def replay(arena: Arena) -> Iterable[Attempt]:
    """AT-15: a seal of globex's that was good a moment ago."""
    with request(arena.globex) as cursor:
        cursor.execute(f"SELECT {SEAL}")
        seal = cursor.fetchone()[0]
        cursor.execute("SELECT pg_backend_pid()")
    yield from attempts(
        arena,
        ("in another transaction", BAD_SEAL, set_to(f"'{seal}'")),
        ("for the session", BAD_SEAL, f"SELECT set_config('tenure.seal', '{seal}', false); {NAMES}"),
    )

    def elsewhere() -> object:
        with raw(arena) as session:
            session.execute("SELECT set_config('tenure.seal', %s, false)", (seal,))
            return session.execute(f"SELECT name FROM {arena.acme.schema}.projects_project").fetchall()

    yield Attempt("in another session", BAD_SEAL, elsewhere)


def while_it_runs(arena: Arena) -> Iterable[Attempt]:
    """AT-16: the select list changes the setting, and the scan goes on."""
    other = f"set_config('tenure.seal', '{{globex}}' || substr({SEAL}, 37), true)"
    many = "INSERT INTO projects_tag (name) SELECT '{own}' || i FROM generate_series(1, 50) AS i; "
    own = r"^\[\('affected', 50\), \(55, 'True'\)\]$"
    counted = "SELECT count(*), (bool_and(name LIKE 'acmes%' OR id <= 4))::text FROM"
    return attempts(
        arena,
        (
            "in the select list",
            own.replace("'True'", "'true'"),
            f"{many}{counted} (SELECT id, name, {other} FROM projects_tag OFFSET 0) AS all_of_it",
        ),
        ("of all there is", "^\\[\\('acmes", f"SELECT name, {other} FROM projects_tag WHERE id > 4"),
    )


def other_roles(arena: Arena) -> Iterable[Attempt]:
    """AT-17. Where a role could be taken, its eyes would be used at once."""
    table = arena.neighbours_table if arena.place is not Place.DATABASE else "projects_project"
    look = f"; SELECT name FROM {table}; SELECT current_user::text"
    given = credentials.of(arena.acme).database
    for role in ("tenure_verifier", "tenure_owner", "tenure_guard", "tenure_provisioner", "postgres", arena.globex.key):
        refused = "42501 permission denied to set role|22023 role .* does not exist"
        yield from attempts(arena, (f"SET ROLE {role}", refused, f'SET ROLE "{role}"{look}'))
        yield from attempts(arena, (f"be {role}", "42501|22023", f'SET SESSION AUTHORIZATION "{role}"{look}'))
    mine = rf"\('{given.user}',\)\]$"
    yield from attempts(arena, ("reset", mine, "RESET ROLE; RESET SESSION AUTHORIZATION; SELECT session_user::text"))
    yield from attempts(arena, ("grant", "42501", "GRANT tenure_owner TO CURRENT_USER"))


def sees_who(arena: Arena) -> bool:
    return injected(arena.acme, "SELECT current_user::text") == [(credentials.of(arena.acme).database.user,)]


# --- AT-18, AT-19 ----------------------------------------------------------------------------------------------------


def entered(arena: Arena, ticket: Iterable[Any]) -> object:
    """Inside a request of acme's: another ticket, and then a look."""
    with request(arena.acme) as cursor:
        cursor.execute(guard.ENTER, list(ticket))
        cursor.execute(NAMES)
        return cursor.fetchall()


def own_key(arena: Arena) -> ContextKey:
    """What whoever has acme's credentials can sign with."""
    key = credentials.of(arena.acme).database.context_key
    assert key is not None
    return key


def forge(arena: Arena) -> Iterable[Attempt]:
    acme, globex, key = arena.acme, arena.globex, own_key(arena)
    good = mint(acme, key)
    forged, expired = (f"42501 tenant context refused: {reason} ticket" for reason in ("forged", "expired"))
    tickets: dict[str, tuple[Iterable[Any], str]] = {
        "globex's, with acme's key": (mint(globex, key), forged),
        "globex's name in acme's": (good._replace(tenant=globex.tenant_id, incarnation=globex.incarnation), forged),
        "with a made-up key": (mint(globex, ContextKey(key.version, secrets.token_bytes(32))), forged),
        "under a retired key": (mint(globex, ContextKey("7", key.key)), forged),
        "of another life": (good._replace(incarnation=uuid4()), forged),
        "for longer": (good._replace(expires=good.expires + 1), forged),
        "to erase": (good._replace(purpose=ERASE), forged),
        "expired": (mint(acme, key, lifetime_s=-1), expired),
        "for an hour": (mint(acme, key, lifetime_s=3_600), expired),
    }
    for what, (ticket, answer) in tickets.items():
        yield Attempt(what, answer, partial(entered, arena, ticket))
    for part in range(len(good)):
        nothing = (*mint(globex, key)[:part], None, *mint(globex, key)[part + 1 :])
        yield Attempt(f"without part {part}", forged, partial(entered, arena, nothing))


def enters_again(arena: Arena) -> bool:
    return entered(arena, mint(arena.acme, own_key(arena))) == [(arena.own,)]


def steal_keys(arena: Arena) -> Iterable[Attempt]:
    """AT-19: whoever reads the pads signs for everybody."""
    denied = "42501 permission denied for table"

    def stolen() -> object:
        ((inner, outer),) = injected(arena.acme, "SELECT ipad, opad FROM tenure_guard.context_key")
        whose = b"K" + arena.globex.tenant_id.bytes + arena.globex.incarnation.bytes
        key = sha256(bytes(outer) + sha256(bytes(inner) + whose).digest()).digest()
        return entered(arena, mint(arena.globex, ContextKey(own_key(arena).version, key)))

    yield Attempt("read the keys and sign", denied, stolen)
    yield from attempts(
        arena,
        ("write the keys", denied, "INSERT INTO tenure_guard.context_key VALUES ('2', '', '')"),
        ("read the doors", denied, "SELECT * FROM tenure_guard.placement"),
        ("open a door", denied, "UPDATE tenure_guard.placement SET open = true RETURNING tenant"),
        ("refuse in its name", "42501 permission denied for function", "SELECT tenure_guard.refuse('x')"),
        (
            "shadow a function",
            "42501",
            "CREATE FUNCTION pg_temp.sha256(bytea) RETURNS bytea LANGUAGE sql AS 'SELECT $1'; " + NAMES,
        ),
        ("put another path first", r"\('acmes", 'SET LOCAL search_path = pg_temp, "{schema}"; ' + NAMES),
    )


# --- AT-32, AT-33 ----------------------------------------------------------------------------------------------------


@contextmanager
def closed(arena: Arena) -> Iterator[None]:
    """acme's door, as a suspension or a move would close it."""
    with connect(Cluster.objects.get(name=arena.acme.cluster)) as connection:
        guard.close_door(connection, arena.acme)
        try:
            yield
        finally:
            guard.open_door(connection, arena.acme)


def at_closed_door(arena: Arena) -> Iterable[Attempt]:
    def orm() -> object:
        with tenant_scope(arena.acme):
            return Project.objects.count()

    with closed(arena):
        yield Attempt("the application", "^TenantClosed", orm)
        yield Attempt("to use", "^TenantClosed", partial(injected, arena.acme, NAMES))
        for text in ("INSERT INTO {}.projects_tag (name) VALUES ('x')", "UPDATE {}.projects_tag SET name = 'x'"):
            written = text.format(arena.acme.schema)
            yield Attempt(f"to erase: {written[:6]}", ONLY_OURS, partial(erasing, arena, written))


def erasing(arena: Arena, text: str) -> object:
    with raw(arena) as session, session.transaction():
        session.execute(guard.ENTER, mint(arena.acme, own_key(arena), purpose=ERASE))
        return session.execute(text).rowcount


def migrate_all(arena: Arena) -> Iterable[Attempt]:
    """AT-33: a data migration of the owner's that forgot whose rows it is about."""

    def migrated() -> object:
        with connect(Cluster.objects.get(name=arena.acme.cluster)) as owner, owner.transaction():
            owner.execute("SET LOCAL ROLE tenure_owner")
            return owner.execute(f"UPDATE {arena.acme.schema}.projects_project SET description = 'x'").rowcount

    yield Attempt("UPDATE", NO_CONTEXT, migrated)


def migrates_one(arena: Arena) -> bool:
    with connect(Cluster.objects.get(name=arena.acme.cluster)) as owner, owner.transaction():
        guard.enter(owner, arena.acme)
        return owner.execute(f"UPDATE {arena.acme.schema}.projects_project SET description = 'x'").rowcount == 1
