"""Who is inside when a door closes is waited for, and nobody else."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta

import psycopg
import pytest

from provisioning.databases import door
from provisioning.databases.servers import Connection
from tests.pool_by_hand import PoolByHand

NO_TIME = timedelta(0)


@pytest.fixture
def ours(by_hand: PoolByHand) -> Iterator[Connection]:
    with by_hand.provisioner() as connection:
        yield connection


def test_a_transaction_under_way_is_waited_for_and_a_later_one_is_not(by_hand: PoolByHand, ours: Connection) -> None:
    with closing(by_hand.login()) as under_way, closing(by_hand.login()) as later, ThreadPoolExecutor(1) as thread:
        under_way.execute("BEGIN")
        seen = door.inside(ours)
        waiting = thread.submit(door.wait_for, ours, seen)
        later.execute("BEGIN")
        assert not waiting.done()
        under_way.execute("COMMIT")
        assert waiting.result(timeout=30) == 0
        assert later.execute("SELECT 1").fetchone() == (1,)
        assert len(seen) == len(door.inside(ours) - seen) == 1


def test_the_next_transaction_of_the_same_session_is_another(by_hand: PoolByHand, ours: Connection) -> None:
    with closing(by_hand.login()) as session:
        session.execute("BEGIN")
        first = door.inside(ours)
        session.execute("COMMIT")
        session.execute("BEGIN")
        assert len(first) == 1
        assert not first & door.inside(ours)


def test_a_straggler_is_ended_in_the_end(by_hand: PoolByHand, ours: Connection) -> None:
    with closing(by_hand.login()) as straggler:
        straggler.execute("BEGIN")
        assert door.wait_until_left(ours, within=NO_TIME) == 1
        assert door.inside(ours) == frozenset()
        with pytest.raises(psycopg.OperationalError):
            straggler.execute("SELECT 1")


def test_idle_sessions_and_our_own_work_are_nobody_inside(by_hand: PoolByHand, ours: Connection) -> None:
    with closing(by_hand.login()) as idle, by_hand.provisioner() as other, other.transaction():
        other.execute("SELECT 1")
        idle.execute("SELECT 1")
        assert door.inside(ours) == frozenset()


def test_only_the_roles_that_are_named_are_waited_for(by_hand: PoolByHand, ours: Connection) -> None:
    with closing(by_hand.login()) as shared, closing(by_hand.login(role=by_hand.acme.key)) as own:
        shared.execute("BEGIN")
        own.execute("BEGIN")
        assert len(door.inside(ours)) == 2
        assert door.wait_until_left(ours, [by_hand.acme.key], within=NO_TIME) == 1
        assert shared.execute("SELECT 1").fetchone() == (1,)
