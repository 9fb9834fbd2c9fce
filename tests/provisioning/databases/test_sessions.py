"""A session kept from one block to the next: nothing of the last block is left in it, and a dead one is none."""

import psycopg
import pytest

from provisioning.databases.servers import KEPT_S, close_kept, run, session
from provisioning.errors import Permanent, Transient
from tenants.models import Cluster

pytestmark = pytest.mark.long

PID = "SELECT pg_backend_pid()"


@pytest.fixture(autouse=True)
def nothing_kept(cluster: Cluster) -> None:
    close_kept()


def pid_of_a_block(cluster: Cluster, *statements: str, application: str = "tenure") -> int:
    with session(cluster, application=application) as connection:
        for statement in statements:
            run(connection, statement)
        ((pid,),) = run(connection, PID)
    return int(pid)


def test_the_next_block_finds_no_trace_of_the_last(cluster: Cluster) -> None:
    traces = ("SET work_mem = '77MB'", "SELECT pg_advisory_lock_shared(4711)", "SET ROLE tenure_verifier")
    first = pid_of_a_block(cluster, *traces, application="tenure:first:1")
    with session(cluster, application="tenure:second:2") as connection:
        assert run(connection, PID) == [(first,)]
        assert run(connection, "SELECT session_user = current_user, current_setting('work_mem') = '77MB'") == [
            (True, False)
        ]
        locks = "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'"
        assert run(connection, locks) == [(0,)]
        names = "SELECT application_name, current_setting('search_path') FROM pg_stat_activity WHERE pid = %s"
        assert run(connection, names, first) == [("tenure:second:2", "pg_catalog")]


@pytest.mark.parametrize("error", [Permanent, Transient, KeyboardInterrupt])
def test_a_session_whose_block_failed_is_not_used_again(cluster: Cluster, error: type[BaseException]) -> None:
    found = 0

    def fail() -> None:
        nonlocal found
        with session(cluster) as connection:
            ((found,),) = run(connection, PID)
            raise error

    with pytest.raises(error):
        fail()
    assert pid_of_a_block(cluster) != found


def test_a_session_that_the_server_has_ended_is_replaced(cluster: Cluster, superuser: psycopg.Connection) -> None:
    ended = pid_of_a_block(cluster)
    superuser.execute("SELECT pg_terminate_backend(%s, 5000)", (ended,))
    assert pid_of_a_block(cluster) != ended


def test_two_blocks_at_once_have_a_session_each(cluster: Cluster) -> None:
    with session(cluster) as one, session(cluster) as other:
        assert run(one, PID) != run(other, PID)


def test_a_session_is_kept_for_a_minute(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    first = pid_of_a_block(cluster)
    monkeypatch.setattr("provisioning.databases.servers.KEPT_S", 0.0)
    assert (pid_of_a_block(cluster) != first, KEPT_S) == (True, 60.0)
