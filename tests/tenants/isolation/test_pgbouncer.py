"""Behind a real PgBouncer in transaction mode: the tenants' transactions alternate on one session of the server."""

import random
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace

import psycopg
import pytest
from django.db import DatabaseError, connections, transaction
from psycopg import sql

from controlplane.stack.embedded import Stack
from examples.projects.models import Tag
from provisioning.databases import guard
from tenants.context import TenantContext, tenant_scope
from tenants.isolation import credentials
from tenants.isolation.connections import alias_of
from tenants.isolation.credentials import Credentials
from tenants.isolation.db.pooled.prepared import OFTEN
from tenants.isolation.tickets import mint
from tests.pgbouncer import bouncing
from tests.pool_by_hand import SCHEMA, PoolByHand
from tests.tenants.isolation.asking import wrapper

pytestmark = pytest.mark.long

TURNS = 1_000
ENTER = "SELECT tenure_guard.enter(%s, %s, %s, %s, %s, %s)"


@pytest.fixture(scope="module")
def port(stack: Stack, made_by_hand: PoolByHand) -> Iterator[int]:
    with psycopg.connect(stack.superuser_url, autocommit=True) as superuser:  # a server with habits of its own
        zone = sql.SQL("ALTER ROLE {} SET timezone = 'Asia/Tokyo'").format(sql.Identifier(made_by_hand.role))
        superuser.execute(zone)
    with bouncing(stack, made_by_hand) as port:
        yield port


@dataclass(frozen=True, slots=True)
class Bounced:
    """Credentials that lead through the pooler."""

    pool: PoolByHand
    port: int

    def credentials(self, context: TenantContext) -> Credentials:
        given = self.pool.credentials(context)
        return replace(given, database=replace(given.database, port=self.port))


@pytest.fixture
def bounced(by_hand: PoolByHand, port: int) -> PoolByHand:
    credentials.register(Bounced(by_hand, port))
    return by_hand


def asked(context: TenantContext, text: str) -> object:
    with connections[alias_of(context)].cursor() as cursor:
        cursor.execute(text)
        return cursor.fetchone()[0]


def test_a_block_has_its_path_its_zone_and_its_rows(bounced: PoolByHand) -> None:
    for context in (bounced.acme, bounced.globex):
        with tenant_scope(context), transaction.atomic(using=alias_of(context)):
            Tag.objects.create(name=context.slug)
            assert [tag.name for tag in Tag.objects.all()] == [context.slug]
            assert asked(context, "SHOW search_path") == SCHEMA
            assert asked(context, "SHOW timezone") == "UTC"


def test_two_tenants_alternate_on_one_session(bounced: PoolByHand, stack: Stack) -> None:
    """AT-26: 1,000 turns, with rollbacks, savepoints, timeouts, and ended sessions in between."""
    chance = random.Random(26)

    def fine(context: TenantContext) -> None:
        assert [tag.name for tag in Tag.objects.all()] == [context.slug]

    def in_a_block(context: TenantContext) -> None:
        with transaction.atomic(using=alias_of(context)):
            Tag.objects.update(name=context.slug)
            fine(context)

    def rolled_back(context: TenantContext) -> None:
        with suppress(ZeroDivisionError), transaction.atomic(using=alias_of(context)):
            Tag.objects.create(name="lost")
            raise ZeroDivisionError

    def to_a_savepoint(context: TenantContext) -> None:
        with transaction.atomic(using=alias_of(context)):
            rolled_back(context)
            fine(context)

    def timed_out(context: TenantContext) -> None:
        with suppress(DatabaseError), transaction.atomic(using=alias_of(context)):
            asked(context, "SELECT set_config('statement_timeout', '1', true)")
            asked(context, "SELECT pg_sleep(5)")

    def left_behind(context: TenantContext) -> None:
        asked(context, f"SELECT set_config('search_path', 'nowhere', false), '{context.slug}'")

    def ended(context: TenantContext) -> None:
        with suppress(DatabaseError), transaction.atomic(using=alias_of(context)):
            Tag.objects.create(name="lost")
            with psycopg.connect(stack.superuser_url, autocommit=True) as superuser:
                superuser.execute("SELECT pg_terminate_backend(%s, 5000)", (asked(context, "SELECT pg_backend_pid()"),))
            Tag.objects.count()

    common: tuple[Callable[[TenantContext], None], ...] = (fine, in_a_block, rolled_back, to_a_savepoint, left_behind)
    for context in (bounced.acme, bounced.globex):
        with tenant_scope(context):
            Tag.objects.create(name=context.slug)
    pids: list[object] = []
    for turn in range(TURNS):
        context = (bounced.acme, bounced.globex)[turn % 2]
        act = {0: ended, 25: timed_out}.get(turn % 50) or chance.choice(common)
        with tenant_scope(context):
            act(context)
            fine(context)
            # Just behind the end of a session, as either tenant.
            pids += [asked(context, "SELECT pg_backend_pid()")] if turn % 50 < 2 else []
    assert pids[0::2] == pids[1::2]  # both tenants are on the one session there is,
    assert len(set(pids)) > TURNS // 100  # and it is a new one after each that was ended


def test_a_pooler_that_nothing_gave_away_is_found_by_what_it_does_not_know(bounced: PoolByHand) -> None:
    for context in (bounced.acme, bounced.globex):
        with tenant_scope(context):
            Tag.objects.create(name=context.slug)
            wrapper(context).session.prepares = True
            for _turn in range(OFTEN + 3):
                Tag.objects.filter(name=context.slug).update(name=context.slug)
                assert {tag.name for tag in Tag.objects.all()} == {context.slug}


def test_what_a_client_leaves_in_the_session_is_gone_for_the_next(by_hand: PoolByHand, port: int) -> None:
    """SE-03: the tenants' own statements, without our backend in between."""
    with closing(by_hand.login(port=port)) as one, closing(by_hand.login(port=port)) as other:
        ((first,),) = one.execute("SELECT pg_backend_pid()").fetchall()
        one.execute("SELECT set_config('tenure.mine', 'x', false), pg_advisory_lock(7)")
        one.execute("PREPARE stolen AS SELECT 1")
        ((second,),) = other.execute("SELECT pg_backend_pid()").fetchall()
        assert first == second
        left = "SELECT current_setting('tenure.mine', true), (SELECT count(*) FROM pg_prepared_statements),"
        locks = " (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())"
        assert other.execute(f"{left}{locks}").fetchone() in {("", 0, 0), (None, 0, 0)}


def test_the_context_stays_in_its_transaction(by_hand: PoolByHand, port: int) -> None:
    with closing(by_hand.login(port=port)) as one, closing(by_hand.login(port=port)) as other:
        with one.transaction():
            one.execute(ENTER, mint(by_hand.acme, guard.context_key(by_hand.acme)))
            one.execute(f"SELECT count(*) FROM {SCHEMA}.projects_tag")
        for client in (one, other):
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="no context"):
                client.execute(f"SELECT count(*) FROM {SCHEMA}.projects_tag")
