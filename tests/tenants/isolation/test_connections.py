import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import OperationalError, connections, transaction
from psycopg import sql
from psycopg.conninfo import make_conninfo

from controlplane.stack.embedded import Stack
from examples.projects.models import Project
from provisioning import lifecycle
from tenants.context import TenantContext, current, tenant_scope
from tenants.errors import NoTenant, WrongTenant
from tenants.isolation import connections as tenant_connections
from tenants.isolation import credentials
from tenants.isolation.connections import alias_of, open_count
from tenants.isolation.credentials import Credentials
from tenants.isolation.db import scoped
from tenants.isolation.db.scoped.base import DatabaseWrapper as ScopedWrapper
from tenants.models import Tenant
from tests.fleet import BILLING, driven, onboarded
from tests.pair import Pair


def touch(context: TenantContext) -> int:
    """Ask the tenant's database anything; which server process answered."""
    with tenant_scope(context), connections[alias_of(context)].cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


@pytest.fixture
def room_for_one(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> Pair:
    connections.close_all()
    monkeypatch.setattr(tenant_connections, "MOST_OPEN", 1)
    return pair


def test_a_connection_is_kept_for_the_next_scope(pair: Pair) -> None:
    assert touch(pair.acme) == touch(pair.acme)


def test_the_tenant_used_longest_ago_makes_room(room_for_one: Pair) -> None:
    first = touch(room_for_one.acme)
    touch(room_for_one.globex)
    assert open_count() == 1
    assert room_for_one.acme.key not in connections.settings
    assert touch(room_for_one.acme) != first
    assert open_count() == 1


def test_the_connection_that_a_coroutine_was_given_hides_no_open_transaction(pair: Pair) -> None:
    async def given() -> None:
        assert connections[alias_of(pair.acme)] is not mine

    touch(pair.acme)
    mine = connections[alias_of(pair.acme)]
    asyncio.run(given())
    block = transaction.atomic(using=alias_of(pair.acme))
    with tenant_scope(pair.acme):
        block.__enter__()
    with pytest.raises(WrongTenant):
        touch(pair.globex)
    with tenant_scope(pair.acme):
        block.__exit__(None, None, None)
    assert touch(pair.globex)


def test_connections_of_other_threads_make_room_too(room_for_one: Pair) -> None:
    with ThreadPoolExecutor(1) as elsewhere:
        elsewhere.submit(touch, room_for_one.acme).result()
        touch(room_for_one.globex)
        assert open_count() == 1
        assert elsewhere.submit(touch, room_for_one.acme).result()
        elsewhere.submit(connections.close_all).result()


def test_a_tenant_in_use_anywhere_in_the_process_keeps_its_connection(room_for_one: Pair) -> None:
    inside, leave = threading.Event(), threading.Event()

    def stay() -> bool:
        try:
            with tenant_scope(room_for_one.acme), connections[alias_of(current())].cursor() as cursor:
                inside.set()
                leave.wait(30)
                cursor.execute("SELECT true")
                return bool(cursor.fetchone()[0])
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as elsewhere:
        staying = elsewhere.submit(stay)
        assert inside.wait(30)
        touch(room_for_one.globex)
        assert open_count() == 2
        leave.set()
        assert staying.result()


def test_what_a_given_up_tenant_left_in_djangos_caches_goes_with_it(room_for_one: Pair) -> None:
    cache = ContentType.objects._cache  # type: ignore[attr-defined]  # Django's, by alias
    with tenant_scope(room_for_one.acme):
        ContentType.objects.get_for_model(Project)
    assert room_for_one.acme.key in cache
    touch(room_for_one.globex)
    assert room_for_one.acme.key not in cache


def test_a_connection_that_the_server_ended_is_replaced(pair: Pair, stack: Stack) -> None:
    first = touch(pair.acme)
    with psycopg.connect(stack.superuser_url, autocommit=True) as superuser:
        superuser.execute("SELECT pg_terminate_backend(%s, 5000)", (first,))
    for connection in connections.all(initialized_only=True):
        connection.close_if_unusable_or_obsolete()  # as Django does between two requests
    assert touch(pair.acme) != first


def test_a_context_of_another_place_gets_another_connection(pair: Pair) -> None:
    first = touch(pair.acme)
    elsewhere = TenantContext(
        tenant_id=pair.acme.tenant_id,
        incarnation=pair.acme.incarnation,
        slug=pair.acme.slug,
        tier=pair.globex.tier,
        cluster=pair.acme.cluster,
        database=pair.acme.database,
        schema=pair.acme.schema,
    )
    assert touch(elsewhere) != first


def test_after_a_rotation_the_new_password_is_asked_for_once(house: None) -> None:
    acme = onboarded("acme")
    context = acme.context()
    touch(context)
    known = credentials.of(context)
    driven(lifecycle.rotate_credentials(tenant=acme, reason="it leaked", actor=BILLING, key="rotation 1"))
    connections[alias_of(context)].close()
    assert credentials.of(context) == known
    assert touch(context)
    assert credentials.of(context).database.password != known.database.password


class Counting:
    """A source that hands out what it was given, and counts."""

    def __init__(self, given: Credentials) -> None:
        self.given, self.asked = given, 0

    def credentials(self, _context: TenantContext) -> Credentials:
        self.asked += 1
        return self.given


def test_a_role_that_may_not_log_in_is_refused_and_asked_for_once_more(house: None, stack: Stack) -> None:
    context = onboarded("acme").context()
    source = Counting(credentials.of(context))
    former = credentials._kept.source
    credentials.register(source)
    try:
        with psycopg.connect(stack.superuser_url, autocommit=True) as superuser:
            superuser.execute(sql.SQL("ALTER ROLE {} NOLOGIN").format(sql.Identifier(context.key)))
        with pytest.raises(OperationalError, match="not permitted to log in"):
            touch(context)
        assert source.asked == 2
    finally:
        credentials.register(former)


def test_a_tenants_login_is_refused_at_every_database_but_its_own(pair: Pair) -> None:
    given = credentials.of(pair.acme).database
    login = make_conninfo(host=given.host, port=given.port, user=given.user, password=given.password)
    psycopg.connect(login, dbname=given.name).close()
    for database in (pair.globex.database, "tenure", "tenure_keyring", "postgres", "template1"):
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(login, dbname=database)


def test_the_default_of_an_application_is_the_tenant_of_the_scope(pair: Pair) -> None:
    default = ScopedWrapper({**connections.settings["default"], "ENGINE": scoped.__name__}, "default")
    for context in (pair.acme, pair.globex):
        with tenant_scope(context), default.cursor() as cursor:
            cursor.execute("SELECT session_user")
            assert (cursor.fetchone(), default.alias) == ((context.key,), context.key)


def test_the_default_of_an_application_refuses_without_a_scope(pair: Pair) -> None:
    default = ScopedWrapper({**connections.settings["default"], "ENGINE": scoped.__name__}, "default")
    with pytest.raises(NoTenant, match="No tenant scope is open"):
        default.cursor()
    default.close_if_unusable_or_obsolete()  # Django asks this of every connection, before there is a scope
    assert Tenant.objects.count() == 2
