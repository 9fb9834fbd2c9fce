import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from django.db import connection, transaction

from provisioning.engine import bell
from provisioning.engine.start import start
from provisioning.errors import KeyReused, OperationInProgress
from provisioning.models import Queue, Run
from tenants.models import Tenant
from tests.provisioning.engine.building import BOB, BUILD, SELL, House
from tests.provisioning.engine.driving import Begin, drive_on


@pytest.fixture
def rings() -> Iterator[list[Queue]]:
    heard: list[Queue] = []
    before, bell.ring = bell.ring, heard.append
    yield heard
    bell.ring = before


def test_the_same_key_gives_the_run_that_exists(begin: Begin) -> None:
    first, second = begin(key="k"), begin(key="k")
    assert (first.pk, Run.objects.count()) == (second.pk, 1)


def test_the_same_key_still_gives_it_after_its_end(begin: Begin) -> None:
    first = drive_on(begin(key="k"))
    assert (begin(key="k").pk, first.state) == (first.pk, "succeeded")


def test_the_same_key_for_another_input_is_refused(begin: Begin) -> None:
    begin(key="k")
    with pytest.raises(KeyReused):
        begin(key="k", trouble={"survey": "bug"})
    with pytest.raises(KeyReused):
        begin(SELL, key="k")


def test_a_second_operation_on_one_tenant_is_refused_and_names_the_first(begin: Begin) -> None:
    first = begin()
    with pytest.raises(OperationInProgress) as refused:
        begin()
    assert refused.value.metadata == {"blocking_operation": first.public_id}


def test_an_ended_operation_is_in_nobodys_way(begin: Begin) -> None:
    drive_on(begin())
    begin()


def test_the_wrong_input_is_a_mistake(begin: Begin) -> None:
    with transaction.atomic(), pytest.raises(TypeError):
        start(BUILD, input="a house, please", actor=BOB, key="k")


def test_work_is_accepted_in_a_transaction_only(acme: Tenant) -> None:
    with pytest.raises(transaction.TransactionManagementError):
        start(BUILD, input=House("nowhere"), actor=BOB, key="k")


def test_the_bell_rings_after_the_commit(begin: Begin, rings: list[Queue]) -> None:
    with transaction.atomic():
        begin()
        assert rings == []
    assert rings == [Queue.OPERATIONS]


def test_what_was_rolled_back_was_never_accepted(begin: Begin, rings: list[Queue]) -> None:
    with transaction.atomic():
        begin()
        transaction.set_rollback(True)
    assert (rings, Run.objects.count()) == ([], 0)


def test_a_bell_that_breaks_does_not_break_the_request(begin: Begin, rings: list[Queue]) -> None:
    def broken(_pool: Queue) -> None:
        raise ConnectionRefusedError

    bell.ring = broken
    assert begin().state == "queued"


def _at_once(keys: list[str]) -> list[str]:
    """Start one run a thread, all at the same moment. Gives the run's id, or who was in the way."""
    together = threading.Barrier(len(keys))

    def begin(key: str) -> str:
        try:
            together.wait()
            with transaction.atomic():
                run = start(BUILD, input=House("x"), actor=BOB, key=key, lock_key="tenant:acme")
        except OperationInProgress as refused:
            return f"refused by {refused.metadata['blocking_operation']}"
        else:
            return f"accepted {run.public_id}"
        finally:
            connection.close()

    with ThreadPoolExecutor(len(keys)) as threads:
        return list(threads.map(begin, keys))


def test_of_twenty_operations_at_once_on_one_tenant_one_is_accepted(control: None) -> None:
    answers = _at_once([str(uuid4()) for _ in range(20)])
    accepted = Run.objects.get().public_id
    assert sorted(answers) == [f"accepted {accepted}", *[f"refused by {accepted}"] * 19]


def test_twenty_times_the_same_request_at_once_is_one_run(control: None) -> None:
    answers = _at_once(["k"] * 20)
    assert set(answers) == {f"accepted {Run.objects.get().public_id}"}
