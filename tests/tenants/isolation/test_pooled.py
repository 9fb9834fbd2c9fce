"""The database backend of pooled tenants: what Django expects of it, and what tenants expect of each other."""

import asyncio
import math
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import uuid4

import psycopg
import pytest
from asgiref.sync import sync_to_async
from django.db import DatabaseError, IntegrityError, NotSupportedError, ProgrammingError, connections, transaction
from django.db.models import Count
from django.db.models.functions import Length
from psycopg import sql

from controlplane.stack.embedded import Stack
from examples.projects.models import Document, Member, Project, Tag
from provisioning.databases.keeping import PARAMETER
from tenants.context import TenantContext, tenant_scope
from tenants.errors import NoTenant, WrongTenant
from tenants.isolation import connections as tenant_connections
from tenants.isolation import credentials
from tenants.isolation.connections import alias_of, open_count
from tenants.isolation.credentials import Credentials
from tenants.isolation.db.pooled.base import DatabaseWrapper
from tenants.isolation.db.pooled.errors import ContextRefused, NoContextKey, TenantClosed, TransactionLost
from tenants.isolation.tickets import ContextKey
from tenants.states import Tier
from tests.pool_by_hand import SCHEMA, PoolByHand, tenant
from tests.tenants.isolation.asking import asked, atomic, wrapper

IDLE = psycopg.pq.TransactionStatus.IDLE


def is_clean(context: TenantContext) -> bool:
    return wrapper(context).session.raw.pgconn.transaction_status == IDLE and not wrapper(context).begun


@pytest.fixture
def acme(by_hand: PoolByHand) -> Iterator[TenantContext]:
    with tenant_scope(by_hand.acme) as context:
        yield context


# --- who sees what ---------------------------------------------------------------------------------------------------


def test_two_tenants_use_the_same_name_and_see_only_their_own(by_hand: PoolByHand) -> None:
    for context in (by_hand.acme, by_hand.globex):
        with tenant_scope(context):
            Project.objects.create(name="Launch", description=context.slug)
    for context in (by_hand.acme, by_hand.globex):
        with tenant_scope(context):
            assert [project.description for project in Project.objects.all()] == [context.slug]


def test_two_tenants_share_one_session_and_it_is_wiped_in_between(by_hand: PoolByHand) -> None:
    with tenant_scope(by_hand.acme):
        ((first,),) = asked(by_hand.acme, "SELECT pg_backend_pid()")
        asked(by_hand.acme, "SELECT set_config('application_name', 'left behind', false), pg_advisory_lock(7)")
        asked(by_hand.acme, "SELECT set_config('search_path', 'nowhere', false)")
        assert asked(by_hand.acme, "SHOW application_name") == [("left behind",)]
        assert Tag.objects.count() == 0
    with tenant_scope(by_hand.globex):
        ((second,),) = asked(by_hand.globex, "SELECT pg_backend_pid()")
        assert asked(by_hand.globex, "SHOW application_name") == [("",)]
        assert asked(by_hand.globex, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 7") == [
            (0,)
        ]
    assert first == second


PREPARED = "SELECT name FROM pg_prepared_statements"


def test_what_lets_a_tenant_in_is_prepared_for_its_turn_alone(by_hand: PoolByHand) -> None:
    names = []
    for context in (by_hand.acme, by_hand.globex, by_hand.acme):
        with tenant_scope(context):
            assert asked(context, PREPARED) == []  # the first of a turn meets a session that was wiped
            ((name,),) = asked(context, PREPARED)
            assert asked(context, PREPARED) == [(name,)]
            names.append(name)
    assert len(set(names)) == 3


def test_a_session_that_lost_what_lets_in_goes_on_without(acme: TenantContext) -> None:
    Tag.objects.create(name="a")
    assert asked(acme, PREPARED) != []
    wrapper(acme).session.raw.execute("DEALLOCATE ALL")
    with atomic(acme):
        Tag.objects.create(name="b")
    assert asked(acme, PREPARED) == []
    wrapper(acme).close()
    Tag.objects.create(name="c")
    assert asked(acme, PREPARED) != []
    wrapper(acme).session.raw.execute("DISCARD ALL")
    Tag.objects.create(name="d")
    assert is_clean(acme)
    assert [tag.name for tag in Tag.objects.all()] == ["a", "b", "c", "d"]


def test_another_statement_under_its_name_lets_nobody_in(by_hand: PoolByHand) -> None:
    with tenant_scope(by_hand.globex):
        Tag.objects.create(name="globex's")
    edited = f"set_config('{PARAMETER}', '{by_hand.globex.tenant_id.hex}', true)"
    for other, refusal in ((edited, "permission denied to set parameter"), ("1", "no context")):
        with tenant_scope(by_hand.acme):
            asked(by_hand.acme, "SELECT 1")
            ((name,),) = asked(by_hand.acme, PREPARED)
            text = f"DEALLOCATE {name}; PREPARE {name} AS SELECT $1, $2, $3, $4, $5, $6, $7, {other}"
            asked(by_hand.acme, f"SELECT 1; {text}")
            with pytest.raises(ProgrammingError, match=refusal):
                asked(by_hand.acme, f"SELECT name FROM {SCHEMA}.projects_tag")
        with tenant_scope(by_hand.globex):
            assert [tag.name for tag in Tag.objects.all()] == ["globex's"]


def test_without_a_scope_nothing_runs(by_hand: PoolByHand) -> None:
    with tenant_scope(by_hand.acme):
        connection = wrapper(by_hand.acme)
        kept = connection.cursor()
    with pytest.raises(NoTenant):
        Project.objects.count()
    with pytest.raises(NoTenant):
        connection.cursor()
    with pytest.raises(NoTenant):
        kept.execute("SELECT 1")


def test_past_the_backend_the_database_refuses(acme: TenantContext) -> None:
    Tag.objects.create(name="a")
    raw = wrapper(acme).connection
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="no context"):
        raw.execute(f"SELECT * FROM {SCHEMA}.projects_tag")
    assert Tag.objects.count() == 1


def test_an_injection_between_semicolons_reaches_nothing_of_another_tenant(by_hand: PoolByHand) -> None:
    with tenant_scope(by_hand.globex):
        Project.objects.create(name="globex's secret", description="")
    with tenant_scope(by_hand.acme):
        Project.objects.create(name="own", description="")
        globex = by_hand.globex.tenant_id
        edited = f"set_config('{PARAMETER}', '{globex.hex}', true)"
        for injected in (
            f"x'; SELECT {edited}; SELECT name FROM projects_project --",
            f"x'; RESET ROLE; SET row_security = off; SELECT name FROM {SCHEMA}.projects_project --",
            f"x' OR tenant_id = '{globex}",
            "x'; COMMIT; SELECT name FROM projects_project --",
            f"x'; UPDATE projects_project SET tenant_id = '{globex}' --",
        ):
            try:
                seen = asked(by_hand.acme, f"SELECT name FROM projects_project WHERE name = '{injected}'")
            except (DatabaseError, ContextRefused):
                seen = []
            assert "globex's secret" not in str(seen)
        assert [
            name for (name,) in asked(by_hand.acme, "SELECT name FROM projects_project WHERE 'x' = 'x' OR ''=''")
        ] == ["own"]
    with tenant_scope(by_hand.globex):
        assert list(Project.objects.values_list("name", flat=True)) == ["globex's secret"]


# --- what Django promises --------------------------------------------------------------------------------------------


def test_a_lone_statement_commits_and_leaves_nothing_open(acme: TenantContext) -> None:
    Tag.objects.create(name="kept")
    assert is_clean(acme)
    assert Tag.objects.get().name == "kept"


def test_an_error_of_a_lone_statement_is_djangos_and_leaves_the_connection_clean(acme: TenantContext) -> None:
    Tag.objects.create(name="a")
    with pytest.raises(IntegrityError, match="projects_tag_name_key"):
        Tag.objects.create(name="a")
    with pytest.raises(ProgrammingError, match="does not exist"):
        asked(acme, "SELECT * FROM nowhere")
    assert is_clean(acme)
    assert Tag.objects.count() == 1


def test_a_constraint_that_fails_at_the_commit_is_an_integrity_error(acme: TenantContext) -> None:
    orphan = Document(project_id=4711, file="f", title="t")
    with pytest.raises(IntegrityError, match="document_of_project"):
        orphan.save()
    assert is_clean(acme)
    with pytest.raises(IntegrityError, match="document_of_project"), atomic(acme):
        Document(project_id=4711, file="f", title="t").save()
    assert is_clean(acme)
    assert Document.objects.count() == 0


def add_and_fail(name: str) -> None:
    Tag.objects.create(name=name)
    raise ZeroDivisionError


def test_a_block_commits_as_one_and_rolls_back_as_one(acme: TenantContext) -> None:
    with atomic(acme, durable=True):
        Tag.objects.create(name="a")
        Tag.objects.create(name="b")
    with pytest.raises(ZeroDivisionError), atomic(acme):
        add_and_fail("c")
    assert [tag.name for tag in Tag.objects.all()] == ["a", "b"]
    assert is_clean(acme)


def test_an_empty_block_sends_nothing(acme: TenantContext) -> None:
    asked(acme, "SELECT 1")
    with atomic(acme), atomic(acme, savepoint=False):
        assert is_clean(acme)


def test_savepoints_roll_back_the_inner_block_alone(acme: TenantContext) -> None:
    with atomic(acme):
        with pytest.raises(ZeroDivisionError), atomic(acme):  # the first statement of the transaction is a savepoint
            add_and_fail("lost")
        Tag.objects.create(name="a")
        with pytest.raises(IntegrityError), atomic(acme):
            Tag.objects.create(name="a")
        Tag.objects.create(name="b")
    assert [tag.name for tag in Tag.objects.all()] == ["a", "b"]


def test_after_an_error_a_block_is_broken_until_its_end(acme: TenantContext) -> None:
    with atomic(acme):
        Tag.objects.create(name="a")
        with pytest.raises(ProgrammingError):
            asked(acme, "SELECT * FROM nowhere")
        with pytest.raises(DatabaseError, match="current transaction is aborted"):
            asked(acme, "SELECT 1")
        transaction.set_rollback(True, using=alias_of(acme))
    assert is_clean(acme)
    assert Tag.objects.count() == 0


def test_transactions_by_hand(acme: TenantContext) -> None:
    connection = wrapper(acme)
    connection.set_autocommit(False)
    try:
        Tag.objects.create(name="lost")
        connection.rollback()
        Tag.objects.create(name="kept")
        with pytest.raises(ProgrammingError, match="autocommit"):
            connection.set_autocommit(True)
        connection.commit()
    finally:
        connection.set_autocommit(True)
    assert [tag.name for tag in Tag.objects.all()] == ["kept"]


def test_hooks_run_after_the_commit(acme: TenantContext) -> None:
    seen: list[int] = []
    with atomic(acme):
        Tag.objects.create(name="a")
        transaction.on_commit(lambda: seen.append(Tag.objects.count()), using=alias_of(acme))
        assert seen == []
    assert seen == [1]


def test_several_statements_in_one_string(acme: TenantContext) -> None:
    insert = "INSERT INTO projects_tag (name) VALUES (%s); SELECT count(*) FROM projects_tag"
    with wrapper(acme).cursor() as cursor:
        cursor.execute(insert, ["a; b"])
        assert cursor.nextset()
        assert cursor.fetchall() == [(1,)]
    with pytest.raises(IntegrityError):
        asked(acme, "INSERT INTO projects_tag (name) VALUES ('c'); INSERT INTO projects_tag (name) VALUES ('c')")
    assert is_clean(acme)
    with atomic(acme), wrapper(acme).cursor() as cursor:
        cursor.execute("INSERT INTO projects_tag (name) VALUES ('d'); INSERT INTO projects_tag (name) VALUES ('e')")
    assert [tag.name for tag in Tag.objects.all()] == ["a; b", "d", "e"]
    assert asked(acme, "SELECT 1;") == [(1,)]


def test_a_statement_for_many_rows(acme: TenantContext) -> None:
    insert = "INSERT INTO projects_tag (name) VALUES (%s)"
    with wrapper(acme).cursor() as cursor:
        cursor.executemany(insert, [["a"], ["b"]])
        with pytest.raises(IntegrityError):
            cursor.executemany(insert, [["c"], ["c"]])
    assert is_clean(acme)
    with atomic(acme), wrapper(acme).cursor() as cursor:
        cursor.executemany(insert, [["d"]])
    assert [tag.name for tag in Tag.objects.all()] == ["a", "b", "d"]


def test_locks_of_rows_iterators_and_cursors_on_the_server(acme: TenantContext) -> None:
    Tag.objects.bulk_create(Tag(name=f"{number:03}") for number in range(300))
    with atomic(acme):
        assert Tag.objects.select_for_update().first() is not None
    assert [tag.name for tag in Tag.objects.iterator(chunk_size=100)][-1] == "299"
    with wrapper(acme).chunked_cursor() as cursor:
        cursor.execute("SELECT 1")
    assert asked(acme, "SELECT count(*) FROM pg_cursors WHERE name <> ''") == [(0,)]


def test_upserts_name_the_columns_that_the_model_knows(acme: TenantContext) -> None:
    Tag.objects.create(name="a")
    Tag.objects.bulk_create([Tag(name="a"), Tag(name="b")], ignore_conflicts=True)
    Tag.objects.bulk_create(
        [Tag(name="a"), Tag(name="c")], update_conflicts=True, unique_fields=["name"], update_fields=["name"]
    )
    assert [tag.name for tag in Tag.objects.all()] == ["a", "b", "c"]
    member = "INSERT INTO projects_member (name, email, joined_at) VALUES (%s, %s, now())"
    with wrapper(acme).cursor() as cursor:
        for name in ("old", "new"):
            target = sql.SQL(" ON CONFLICT (lower(email)) DO UPDATE SET name = excluded.name")
            cursor.execute(sql.Composed([sql.SQL(member), target]), [name, "On conflict (X)@example.org"])
    assert Member.objects.get().name == "new"


def test_rows_are_grouped_by_all_that_is_selected(acme: TenantContext) -> None:
    project = Project.objects.create(name="p", description="d")
    Document.objects.create(project=project, file="f", title="t")
    counted = Project.objects.annotate(documents_count=Count("documents"), length=Length("description"))
    assert [(each.name, each.documents_count, each.length) for each in counted] == [("p", 1, 1)]


def test_rows_are_copied_out_in_a_transaction_and_never_in(acme: TenantContext) -> None:
    Tag.objects.create(name="a")
    out = "COPY (SELECT name FROM projects_tag) TO STDOUT"
    with atomic(acme), wrapper(acme).cursor() as cursor, cursor.copy(out) as copy:
        assert b"".join(copy) == b"a\n"
    with wrapper(acme).cursor() as cursor:
        with pytest.raises(psycopg.NotSupportedError, match="atomic block"), cursor.copy(out):
            pass
        for text in (out, f"/* */ {out}"):
            with pytest.raises(NotSupportedError, match="COPY"):
                cursor.execute(text)
            cursor = wrapper(acme).cursor()  # noqa: PLW2901  the second one costs the connection
    with atomic(acme), wrapper(acme).cursor() as cursor:
        with pytest.raises(psycopg.errors.FeatureNotSupported), cursor.copy("COPY projects_tag (name) FROM STDIN"):
            pass
        transaction.set_rollback(True, using=alias_of(acme))
    assert Tag.objects.count() == 1


# --- refused ---------------------------------------------------------------------------------------------------------


def test_behind_a_closed_door_the_error_is_typed_and_nothing_was_run(by_hand: PoolByHand) -> None:
    with tenant_scope(by_hand.initech):
        for _attempt in range(2):
            with pytest.raises(TenantClosed, match="not open here"):
                Tag.objects.create(name="x")
            with pytest.raises(TenantClosed), atomic(by_hand.initech):
                Tag.objects.create(name="x")
            assert is_clean(by_hand.initech)
    with tenant_scope(by_hand.acme):
        assert Tag.objects.count() == 0


class Answers:
    """A source of credentials that answers in turn, the last one for ever."""

    def __init__(self, *answers: Credentials) -> None:
        self.answers = list(answers)
        self.asked = 0

    def credentials(self, _context: TenantContext) -> Credentials:
        self.asked += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def with_key(given: Credentials, key: ContextKey | None) -> Credentials:
    return replace(given, database=replace(given.database, context_key=key))


def test_a_key_that_was_exchanged_is_asked_for_once(by_hand: PoolByHand, acme: TenantContext) -> None:
    good = by_hand.credentials(acme)
    source = Answers(with_key(good, ContextKey("1", b"old" * 8)), good)
    credentials.register(source)
    with atomic(acme):
        Tag.objects.create(name="a")
    assert source.asked == 2
    assert Tag.objects.count() == 1


def test_a_key_that_stays_wrong_is_an_error_and_not_a_loop(by_hand: PoolByHand, acme: TenantContext) -> None:
    source = Answers(with_key(by_hand.credentials(acme), ContextKey("1", b"old" * 8)))
    credentials.register(source)
    with pytest.raises(ContextRefused, match="forged ticket"):
        Tag.objects.count()
    assert source.asked == 2
    assert is_clean(acme)


def test_credentials_without_a_key_are_refused(by_hand: PoolByHand, acme: TenantContext) -> None:
    credentials.register(Answers(with_key(by_hand.credentials(acme), None)))
    with pytest.raises(NoContextKey):
        Tag.objects.count()


def test_a_kept_ticket_that_ran_out_is_made_anew(acme: TenantContext) -> None:
    assert Tag.objects.count() == 0
    connection = wrapper(acme)
    connection._ticket = (*connection._ticket[:4], b"1", *connection._ticket[5:])  # signed for another second
    with pytest.raises(ContextRefused, match="forged"):
        Tag.objects.count()
    assert Tag.objects.count() == 0


def test_another_tenants_scope_in_an_open_transaction_is_refused(by_hand: PoolByHand) -> None:
    with tenant_scope(by_hand.acme):
        block = atomic(by_hand.acme)
        block.__enter__()
        Tag.objects.create(name="a")
    try:
        with tenant_scope(by_hand.globex), pytest.raises(WrongTenant):
            Tag.objects.count()
    finally:
        with tenant_scope(by_hand.acme):
            block.__exit__(None, None, None)
    with tenant_scope(by_hand.globex):
        assert Tag.objects.count() == 0


def test_a_transaction_opened_by_raw_sql_is_nobody_elses(by_hand: PoolByHand) -> None:
    with tenant_scope(by_hand.acme):
        with wrapper(by_hand.acme).cursor() as cursor:
            cursor.execute("BEGIN")
        Tag.objects.create(name="a")
    with tenant_scope(by_hand.globex), pytest.raises(WrongTenant):
        Tag.objects.count()
    with tenant_scope(by_hand.acme):
        with wrapper(by_hand.acme).cursor() as cursor:
            cursor.execute("ROLLBACK")
        assert Tag.objects.count() == 0


def test_a_commit_in_the_middle_of_a_block_breaks_the_rest_of_it(acme: TenantContext) -> None:
    def block() -> None:
        with atomic(acme), wrapper(acme).cursor() as cursor:
            cursor.execute("INSERT INTO projects_tag (name) VALUES ('a')")
            cursor.execute("COMMIT")
            cursor.execute("INSERT INTO projects_tag (name) VALUES ('b')")

    with pytest.raises(TransactionLost):
        block()
    assert is_clean(acme)
    assert [tag.name for tag in Tag.objects.all()] == ["a"]


# --- connections -----------------------------------------------------------------------------------------------------


def end_session(stack: Stack, context: TenantContext) -> None:
    session = wrapper(context).session
    with psycopg.connect(stack.superuser_url, autocommit=True) as superuser:
        superuser.execute("SELECT pg_terminate_backend(%s, 5000)", (session.raw.info.backend_pid,))


def test_a_lost_connection_is_an_error_once_and_then_replaced(acme: TenantContext, stack: Stack) -> None:
    Tag.objects.create(name="a")
    end_session(stack, acme)
    with pytest.raises(DatabaseError):
        Tag.objects.count()
    assert Tag.objects.count() == 1

    def block() -> None:
        with atomic(acme):
            Tag.objects.create(name="b")
            end_session(stack, acme)
            Tag.objects.create(name="c")

    with pytest.raises(DatabaseError):
        block()
    assert Tag.objects.count() == 1


def close_with(others: threading.Barrier) -> None:
    others.wait()
    connections.close_all()


def test_threads_have_sessions_of_their_own_and_no_scope_of_others(by_hand: PoolByHand) -> None:
    def work(turn: int) -> bool:
        context = by_hand.acme if turn % 2 else by_hand.globex
        with tenant_scope(context), atomic(context):
            Tag.objects.create(name=f"{context.slug} {turn}")
            return all(tag.name.startswith(context.slug) for tag in Tag.objects.all())

    def stranger() -> None:
        Tag.objects.count()

    barrier = threading.Barrier(4)
    with ThreadPoolExecutor(4, initializer=barrier.wait) as pool:
        assert all(pool.map(work, range(200)))
        with tenant_scope(by_hand.acme), pytest.raises(NoTenant):
            pool.submit(stranger).result()
        closing = threading.Barrier(4)
        for _thread in range(4):
            pool.submit(close_with, closing)


def test_coroutines_keep_to_their_tenants(by_hand: PoolByHand) -> None:
    def work(context: TenantContext, turn: int) -> bool:
        Tag.objects.create(name=f"{context.slug} {turn}")
        return all(tag.name.startswith(context.slug) for tag in Tag.objects.all())

    async def one(turn: int) -> bool:
        context = by_hand.acme if turn % 2 else by_hand.globex
        with tenant_scope(context):
            await asyncio.sleep(0)
            return await sync_to_async(work)(context, turn)

    async def all_at_once() -> list[bool]:
        try:
            return await asyncio.gather(*(one(turn) for turn in range(200)))
        finally:
            await sync_to_async(connections.close_all)()

    assert all(asyncio.run(all_at_once()))


def test_ten_thousand_tenants_take_one_connection(by_hand: PoolByHand) -> None:
    with tenant_scope(by_hand.acme):
        ((pid,),) = asked(by_hand.acme, "SELECT pg_backend_pid()")
        wrapper(by_hand.acme).session.obsolete_at = math.inf  # however old it was

    def come(numbers: range) -> None:
        for number in numbers:
            with tenant_scope(tenant(f"tenant-{number}")), pytest.raises(TenantClosed):
                Tag.objects.count()

    come(range(tenant_connections.MOST_OPEN))  # what other tests left open is closed to make room
    before = open_count()
    come(range(tenant_connections.MOST_OPEN, 300))
    with tenant_scope(by_hand.acme):
        assert asked(by_hand.acme, "SELECT pg_backend_pid()") == [(pid,)]
    assert open_count() == before
    kept = [alias for alias in tenant_connections.wrappers_of_this_thread() if tenant_connections.is_tenants(alias)]
    assert len(kept) <= tenant_connections.MOST_OPEN  # beside which an application's thread has one that is nobody's


def test_a_tenant_that_moves_between_tiers_changes_its_backend(by_hand: PoolByHand) -> None:
    with tenant_scope(by_hand.acme):
        assert Tag.objects.count() == 0
    moved = replace(by_hand.acme, tier=Tier.SCHEMA, incarnation=uuid4())
    with tenant_scope(moved):
        assert not isinstance(connections[alias_of(moved)], DatabaseWrapper)
    with tenant_scope(by_hand.acme):
        assert Tag.objects.count() == 0


def test_a_login_role_of_its_own_takes_a_connection_of_its_own(by_hand: PoolByHand) -> None:
    given = by_hand.credentials(by_hand.acme)
    own = replace(given, database=replace(given.database, user=by_hand.acme.key))

    class PerTenant:
        def credentials(self, context: TenantContext) -> Credentials:
            return own if context == by_hand.acme else by_hand.credentials(context)

    credentials.register(PerTenant())
    users = {}
    for context in (by_hand.acme, by_hand.globex, by_hand.acme):
        with tenant_scope(context):
            users[context.slug] = asked(context, "SELECT session_user")
    assert users == {"acme": [(by_hand.acme.key,)], "globex": [(by_hand.role,)]}
