"""Attacks by what a session remembers or shows, by names, threads and transactions."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import psycopg
from django.db import connections, transaction
from psycopg import sql

from examples.projects.models import Project
from provisioning import lifecycle
from provisioning.databases import roles
from provisioning.databases.tiers import LoginRole
from provisioning.models import Resource, ResourceKind
from tenants.context import TenantContext, tenant_scope
from tenants.isolation import credentials
from tenants.isolation.connections import alias_of
from tenants.models import Tenant
from tests import fleet
from tests.isolation.arena import PLANS, POOLED, Arena, injected, request
from tests.isolation.attack import Attempt
from tests.isolation.rows import NAMES, attempts

LARGE_OBJECT = 771_177


def names() -> list[str]:
    return list(Project.objects.values_list("name", flat=True))


# --- AT-20 to AT-22 ---------------------------------------------------------------------------------------------------


def shadow(arena: Arena) -> Iterable[Attempt]:
    """A table of the same name that comes first, for whoever writes next in this session."""
    denied = "42501 permission denied to create temporary tables|42501 permission denied for database"
    return attempts(
        arena,
        ("empty", denied, "CREATE TEMPORARY TABLE projects_member AS TABLE projects_member WITH NO DATA"),
        ("by its schema", denied, "CREATE TABLE pg_temp.projects_member (name text)"),
        ("a view", denied, "CREATE TEMPORARY VIEW projects_member AS SELECT 'x'::text AS name"),
        ("a sequence", denied, "CREATE TEMPORARY SEQUENCE projects_member_id_seq"),
    )


def prepare(arena: Arena) -> Iterable[Attempt]:
    """Statements under the names that the driver would use, left for globex."""

    def left() -> object:
        injected(arena.acme, "PREPARE _pg3_0 AS SELECT 'acmes'; PREPARE _pg3_1 AS SELECT 'acmes'")
        with request(arena.globex) as cursor:
            for _turn in range(7):  # after the fifth time psycopg would prepare it
                cursor.execute("SELECT count(*) FROM projects_project")
            cursor.execute("SELECT name FROM pg_prepared_statements")
            return cursor.fetchall()

    yield Attempt("in globex's session", r"^\[\]$", left)


def prepares(arena: Arena) -> bool:
    injected(arena.acme, "PREPARE mine AS SELECT 7")
    return bool(injected(arena.acme, "EXECUTE mine; DEALLOCATE mine")[0] == (7,))


def fetch_held(arena: Arena) -> Iterable[Attempt]:
    def held() -> object:
        with request(arena.globex) as cursor:
            cursor.execute(f"DECLARE held CURSOR WITH HOLD FOR {NAMES}")
        return injected(arena.acme, "FETCH ALL FROM held")

    yield Attempt("globex's cursor", '34000 cursor "held" does not exist', held)


def holds(arena: Arena) -> bool:
    injected(arena.acme, f"DECLARE mine CURSOR WITH HOLD FOR {NAMES}")
    return bool(injected(arena.acme, "FETCH ALL FROM mine; CLOSE mine")[0] == (arena.own,))


# --- AT-23 to AT-25 ---------------------------------------------------------------------------------------------------


@contextmanager
def working(arena: Arena) -> Iterator[int]:
    """globex in a session of its own, with a value in the text of its statement; its pid."""
    given = credentials.of(arena.globex).database
    where = {"host": given.host, "port": given.port, "dbname": given.name}
    with psycopg.connect(user=given.user, password=given.password, **where) as session:  # type: ignore[arg-type]
        session.execute(f"SELECT '{arena.canary}'")
        yield session.info.backend_pid


def overhear(arena: Arena) -> Iterable[Attempt]:
    with working(arena) as pid:
        hidden = "42501|^\\[.*insufficient privilege"
        yield from attempts(
            arena,
            ("all statements", hidden, f"SELECT query FROM pg_stat_activity WHERE pid = {pid}"),
            ("by function", hidden, f"SELECT query FROM pg_stat_get_activity({pid})"),
            ("end it", "42501", f"SELECT pg_terminate_backend({pid})"),
            ("cancel it", "42501", f"SELECT pg_cancel_backend({pid})"),
        )


@contextmanager
def large_object(arena: Arena) -> Iterator[None]:
    """One of the role that both share, from a time when it might make some."""
    names = {"role": sql.Identifier(credentials.of(arena.globex).database.user), "id": sql.Literal(LARGE_OBJECT)}
    with arena.superuser() as superuser:
        superuser.execute("SELECT lo_from_bytea(%s, %s)", (LARGE_OBJECT, arena.canary.encode()))
        superuser.execute(sql.SQL("ALTER LARGE OBJECT {id} OWNER TO {role}").format(**names))
        try:
            yield
        finally:
            superuser.execute("SELECT lo_unlink(%s)", (LARGE_OBJECT,))


def read_large_object(arena: Arena) -> Iterable[Attempt]:
    denied = "42501 permission denied for function"
    return attempts(
        arena,
        ("read", denied, f"SELECT convert_from(lo_get({LARGE_OBJECT}), 'UTF8')"),
        ("open", denied, f"SELECT lo_open({LARGE_OBJECT}, 131072)"),
        ("write", denied, f"SELECT lo_put({LARGE_OBJECT}, 0, 'x')"),
        ("make", denied, "SELECT lo_from_bytea(0, 'x')"),
    )


@contextmanager
def role_restored(arena: Arena) -> Iterator[None]:
    given = credentials.of(arena.acme).database
    try:
        yield
    finally:
        with arena.superuser() as superuser:
            role = sql.SQL("ALTER ROLE {} SET search_path = {}")
            superuser.execute(role.format(sql.Identifier(given.user), sql.Identifier(given.schema)))
        for context in (arena.acme, arena.globex):
            connections[alias_of(context)].close()


def change_role(arena: Arena) -> Iterable[Attempt]:
    """PostgreSQL lets every role change its own settings: they must not matter, and must be found."""
    altered = "ALTER ROLE CURRENT_USER SET search_path = nowhere"
    yield from attempts(arena, ("its search path", r"^\[\('affected', -1\)\]$", altered))
    for context in (arena.acme, arena.globex):
        connections[alias_of(context)].close()
    counted = partial(injected, arena.globex, "SELECT count(*) FROM projects_project")
    yield Attempt("globex in a new session", r"^\[\(1,\)\]$", counted)
    handle = Resource.objects.of(arena.acme.tenant_id, ResourceKind.ROLE).handle

    def looked_at() -> list[str]:
        roles.look_again()
        return [finding.code for finding in LoginRole().verify(arena.acme, handle)]

    yield Attempt("told by a look at it", "ROLE_SETTINGS_CHANGED", looked_at)


# --- AT-28 ------------------------------------------------------------------------------------------------------------

NAMES_TO_TRY = (
    "x','victim",
    "pg_x",
    "PUBLIC",
    "a" * 64,
    "acm\u0435",  # a Cyrillic letter
    "A",
    'x"; DROP SCHEMA public; --',
    "../globex",
    "t_00000000000040008000000000000001",
    "",
)


def bad_names(arena: Arena) -> Iterable[Attempt]:
    tier, plan = PLANS[arena.place]

    def onboard(slug: str) -> object:
        wish = fleet.wish(slug, tier, plan=plan)
        return lifecycle.plan_onboard(wish=wish)

    before = Tenant.objects.count()
    for slug in NAMES_TO_TRY:
        yield Attempt(slug, "^InvalidWish .*(not a usable slug|reserved)", partial(onboard, slug))
    yield Attempt("tenants made", "^0$", lambda: Tenant.objects.count() - before)


def takes_a_name(arena: Arena) -> bool:
    tier, plan = PLANS[arena.place]
    return bool(lifecycle.plan_onboard(wish=fleet.wish("initech", tier, plan=plan)))


# --- AT-30, AT-31 -----------------------------------------------------------------------------------------------------


def in_a_thread() -> list[str]:
    try:
        return names()
    finally:
        connections.close_all()


def stray(arena: Arena) -> Iterable[Attempt]:
    """A thread that acme's code starts has no scope, whatever ran in it before."""

    def started() -> object:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(served, arena.globex).result()
            with tenant_scope(arena.acme):
                return pool.submit(in_a_thread).result()

    yield Attempt("a thread", "^NoTenant ", started)


def served(context: TenantContext) -> None:
    with tenant_scope(context):
        names()


def has_a_thread(arena: Arena) -> bool:
    def scoped() -> list[str]:
        with tenant_scope(arena.acme):
            return in_a_thread()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(scoped).result() == [arena.own]


def cross(arena: Arena) -> Iterable[Attempt]:
    """globex's scope where acme's is still open, or its transaction is."""

    def inside() -> object:
        with tenant_scope(arena.acme), tenant_scope(arena.globex):
            return names()

    yield Attempt("a scope inside", "^WrongTenant ", inside)

    def in_its_transaction() -> object:
        block = transaction.atomic(using=alias_of(arena.acme))
        with tenant_scope(arena.acme):
            block.__enter__()
            names()
        try:
            with tenant_scope(arena.globex):
                return names()
        finally:
            with tenant_scope(arena.acme):
                block.__exit__(None, None, None)

    yield Attempt("in its transaction", "^WrongTenant ", in_its_transaction)

    def committed() -> object:
        with request(arena.acme) as cursor:
            cursor.execute("COMMIT")
            cursor.execute(NAMES)
            return cursor.fetchall()

    yield Attempt("COMMIT in a block", "^TransactionLost" if arena.place in POOLED else arena.own, committed)


def keeps_its_block(arena: Arena) -> bool:
    with tenant_scope(arena.acme), transaction.atomic(using=alias_of(arena.acme)):
        return names() == [arena.own]
