"""What a transaction asks when it enters: made of placements and keys whenever one of them is written."""

import math
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from uuid import uuid4

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

from controlplane.stack.embedded import Stack
from provisioning.databases import guard, signing
from provisioning.databases.ddl import GUARD
from tests.crashes.harness import wait_for
from tests.pool_by_hand import DATABASE, PoolByHand
from tests.provisioning.databases.guarded import ENTER, Session, enter, install, names, ticket

KEYS = f"SELECT version, incarnation, open FROM {GUARD}.ticket_key WHERE tenant = %s ORDER BY version"
FORMER_ENTER = f"""
    CREATE OR REPLACE FUNCTION {GUARD}.enter(
        purpose text, tenant uuid, incarnation uuid, expires bigint, key_version text, mac bytea)
    RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN END $$
"""
WAITS = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"


@pytest.fixture
def superuser(by_hand: PoolByHand, stack: Stack) -> Iterator[psycopg.Connection]:
    url = f"{stack.superuser_url.rsplit('/', 1)[0]}/{DATABASE}"
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def second_version(by_hand: PoolByHand) -> Iterator[signing.Signing]:
    """What would sign next; afterwards there is the first alone."""
    by_hand.cluster.context_version = 2
    yield signing.believe(by_hand.cluster, for_s=math.inf)
    by_hand.cluster.context_version = 1
    signing.believe(by_hand.cluster, for_s=math.inf)
    with by_hand.provisioner() as connection:
        guard.keep_version(connection, version="1")


def test_they_follow_a_tenant_from_life_to_life(by_hand: PoolByHand, superuser: psycopg.Connection) -> None:
    reborn = replace(by_hand.initech, incarnation=uuid4())

    def keys() -> list[tuple[object, ...]]:
        return superuser.execute(KEYS, (reborn.tenant_id,)).fetchall()

    assert keys() == [("1", by_hand.initech.incarnation, False)]
    with by_hand.provisioner() as connection:
        guard.open_door(connection, reborn)
        assert keys() == [("1", reborn.incarnation, True)]
        guard.close_door(connection, reborn)
        assert keys() == [("1", reborn.incarnation, False)]
        guard.forget(connection, reborn)
        assert keys() == []
        guard.open_door(connection, by_hand.initech)
        guard.close_door(connection, by_hand.initech)


def test_they_follow_where_checks_and_other_triggers_rest(
    by_hand: PoolByHand, session: Session, superuser: psycopg.Connection
) -> None:
    """Erasing lets them rest, and a door that stayed open would be a hole."""
    superuser.execute("SET session_replication_role = replica")
    tenant = (by_hand.acme.tenant_id,)
    superuser.execute(f"UPDATE {GUARD}.placement SET open = false WHERE tenant = %s", tenant)
    try:
        with pytest.raises(InsufficientPrivilege, match="not open here"):
            enter(session, by_hand.acme)
    finally:
        superuser.execute(f"UPDATE {GUARD}.placement SET open = true WHERE tenant = %s", tenant)
    enter(session, by_hand.acme)


@pytest.mark.parametrize("first_is", ["key", "tenant"])
def test_a_key_and_a_tenant_that_come_at_the_same_moment_meet(
    first_is: str,
    by_hand: PoolByHand,
    session: Session,
    second_version: signing.Signing,
    superuser: psycopg.Connection,
) -> None:
    newcomer = replace(by_hand.initech, tenant_id=uuid4(), incarnation=uuid4())

    def add(connection: psycopg.Connection) -> None:
        guard.add_version(connection, cluster=by_hand.cluster, database=DATABASE, signs=second_version)

    def place(connection: psycopg.Connection) -> None:
        guard.open_door(connection, newcomer)

    first, second = (add, place) if first_is == "key" else (place, add)

    def follow() -> None:
        with by_hand.provisioner() as connection:
            second(connection)

    follower = threading.Thread(target=follow)
    with by_hand.provisioner() as connection:
        with connection.transaction():
            first(connection)
            follower.start()
            wait_for(lambda: superuser.execute(WAITS, (DATABASE,)).fetchone() == (1,))
        follower.join()
        versions = [version for version, *_rest in superuser.execute(KEYS, (newcomer.tenant_id,))]
        assert versions == ["1", "2"]
        enter(session, newcomer)  # by the second
        guard.forget(connection, newcomer)


def test_a_guard_from_before_there_were_any_has_them_once_it_is_installed_again(
    by_hand: PoolByHand, session: Session, superuser: psycopg.Connection
) -> None:
    superuser.execute(FORMER_ENTER)
    superuser.execute(f"DROP TABLE {GUARD}.ticket_key CASCADE")
    superuser.execute(f"DROP TRIGGER placed ON {GUARD}.placement; DROP TRIGGER keyed ON {GUARD}.context_key")
    install(by_hand)
    with session.transaction():
        enter(session, by_hand.acme)
        assert names(session) == ["a"]
    with pytest.raises(InsufficientPrivilege, match="not open here"):
        enter(session, by_hand.initech)


def test_a_door_that_closes_while_a_statement_is_under_way_is_closed_to_it(
    by_hand: PoolByHand, superuser: psycopg.Connection
) -> None:
    """`enter` looks with a snapshot of its own, later than its mark: see door.py."""
    slow, sleeping = ENTER.replace("SELECT", "SELECT pg_sleep(1),"), WAITS.replace("'Lock'", "'Timeout'")
    said = list[str | None]()

    def come_late() -> None:
        with closing(by_hand.login()) as session, pytest.raises(InsufficientPrivilege) as refused:
            session.execute(slow, ticket(by_hand.acme))
        said.append(refused.value.diag.message_primary)

    late = threading.Thread(target=come_late)
    late.start()
    wait_for(lambda: superuser.execute(sleeping, (DATABASE,)).fetchone() == (1,))
    with by_hand.provisioner() as connection:
        guard.close_door(connection, by_hand.acme)
        try:
            late.join()
        finally:
            guard.open_door(connection, by_hand.acme)
    assert said == ["tenant context refused: tenant is not open here"]
