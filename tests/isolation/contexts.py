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
from provisioning.databases.keeping import PARAMETER
from provisioning.databases.servers import connect
from tenants.context import tenant_scope
from tenants.isolation import credentials
from tenants.isolation.tickets import ERASE, ContextKey, mint
from tenants.models import Cluster
from tests.isolation.arena import Arena, Place, injected, request
from tests.isolation.attack import Attempt
from tests.isolation.rows import NAMES, attempts, raw

NO_CONTEXT = "42501 tenant context refused: no context"
ONLY_OURS = "42501 tenant context refused: (may only read and delete|no application erases)"
NOT_YOURS = f'42501 permission denied to set parameter "{PARAMETER}"'
AT_ONCE = "SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_bitmapscan = off; "


def set_to(value: str, *, local: bool = True) -> str:
    return f"SELECT set_config('{PARAMETER}', {value}, {local}); {NAMES}"


def spoil(arena: Arena) -> Iterable[Attempt]:
    """AT-13: absent, empty, cut, long, and SQL."""
    own = f"current_setting('{PARAMETER}')"
    return attempts(
        arena,
        ("empty", NOT_YOURS, set_to("''")),
        ("reset", NOT_YOURS, f"RESET {PARAMETER}; {NAMES}"),
        ("reset with all others", NO_CONTEXT, f"RESET ALL; SELECT name FROM {arena.acme.schema}.projects_project"),
        ("after its transaction", "42P01", f"COMMIT; {NAMES}"),
        (
            "after its transaction, by the schema",
            NO_CONTEXT,
            f"COMMIT; SELECT name FROM {arena.acme.schema}.projects_project",
        ),
        ("globex", NOT_YOURS, set_to("'{globex_hex}'")),
        ("cut", NOT_YOURS, set_to(f"left({own}, 30)")),
        ("long", NOT_YOURS, set_to("repeat('x', 10000)")),
        ("SQL", NOT_YOURS, set_to(f"{own} || $$' or 1=1 --$$")),
        ("discarded", "25001|42501", f"DISCARD ALL; {NAMES}"),
    )


def edit(arena: Arena) -> Iterable[Attempt]:
    """AT-14: globex's name in the place of acme's, by every way to set something."""
    role = credentials.of(arena.acme).database.user
    return attempts(
        arena,
        ("by function", NOT_YOURS, set_to("'{globex_hex}'")),
        ("for the session", NOT_YOURS, set_to("'{globex_hex}'", local=False)),
        ("by SET", NOT_YOURS, f"SET {PARAMETER} = '{{globex_hex}}'; {NAMES}"),
        ("by SET LOCAL", NOT_YOURS, f"SET LOCAL {PARAMETER} = '{{globex_hex}}'; {NAMES}"),
        ("by the view", NOT_YOURS, f"UPDATE pg_settings SET setting = '{{globex_hex}}' WHERE name = '{PARAMETER}'"),
        ("for its role", NOT_YOURS, f"ALTER ROLE \"{role}\" SET {PARAMETER} = '{{globex_hex}}'"),
        (
            "in a block",
            NOT_YOURS,
            f"DO $$ BEGIN PERFORM set_config('{PARAMETER}', '{{globex_hex}}', true); END $$; {NAMES}",
        ),
        (
            "past the guard's door",
            "42501 permission denied for function admit",
            f"SELECT tenure_guard.admit('{{globex}}', '1'); {NAMES}",
        ),
        (
            "without a ticket",
            "42501 permission denied for function let_in",
            f"SELECT tenure_guard.let_in(true, 'use', '{{globex}}', NULL, 0, '1', ''); {NAMES}",
        ),
        (
            "and written with it",
            NOT_YOURS,
            f"SELECT set_config('{PARAMETER}', '{{globex_hex}}', true); INSERT INTO projects_tag (name) VALUES ('x')",
        ),
    )


def replay(arena: Arena) -> Iterable[Attempt]:
    """AT-15: a context of globex's that was good a moment ago."""
    with request(arena.globex) as cursor:
        cursor.execute(f"SELECT current_setting('{PARAMETER}')")
        context = cursor.fetchone()[0]
    yield from attempts(
        arena,
        ("in another transaction", NOT_YOURS, set_to(f"'{context}'")),
        ("for the session", NOT_YOURS, set_to(f"'{context}'", local=False)),
    )

    def elsewhere() -> object:
        with raw(arena) as session:
            session.execute(f"SELECT set_config('{PARAMETER}', %s, false)", (context,))
            return session.execute(f"SELECT name FROM {arena.acme.schema}.projects_project").fetchall()

    yield Attempt("in another session", NOT_YOURS, elsewhere)


def while_it_runs(arena: Arena) -> Iterable[Attempt]:
    """AT-16: the select list changes the context, and the scan goes on."""
    other = f"set_config('{PARAMETER}', '{{globex_hex}}', true)"
    return attempts(
        arena,
        ("in the select list", NOT_YOURS, f"SELECT name, {other} FROM projects_tag"),
        ("row by row", NOT_YOURS, f"{AT_ONCE}SELECT name, {other} FROM projects_tag"),
        ("by a block", NOT_YOURS, f"{AT_ONCE}DO $$ BEGIN PERFORM name, {other} FROM projects_tag; END $$"),
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
    """AT-19: whoever reads the pads signs for everybody, and whoever reads a tenant's key for that tenant."""
    denied = "42501 permission denied for table"

    def stolen() -> object:
        ((inner, outer),) = injected(arena.acme, "SELECT ipad, opad FROM tenure_guard.context_key")
        whose = b"K" + arena.globex.tenant_id.bytes + arena.globex.incarnation.bytes
        key = sha256(bytes(outer) + sha256(bytes(inner) + whose).digest()).digest()
        return entered(arena, mint(arena.globex, ContextKey(own_key(arena).version, key)))

    def stolen_of_one() -> object:
        whose = f"tenant = '{arena.globex.tenant_id}'"
        ((key,),) = injected(arena.acme, f"SELECT key FROM tenure_guard.ticket_key WHERE {whose}")
        return entered(arena, mint(arena.globex, ContextKey(own_key(arena).version, bytes(key))))

    yield Attempt("read the keys and sign", denied, stolen)
    yield Attempt("read globex's key and sign", denied, stolen_of_one)
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
