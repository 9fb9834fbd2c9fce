from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, connections, transaction

from provisioning.engine import children
from provisioning.engine.claim import claim
from provisioning.engine.start import start
from provisioning.engine.workflow import StepContext, Workflow, Workflows
from provisioning.models import Queue, QueuePulse, Run, RunLimit
from tenants.models import Tenant
from tests.provisioning.engine.building import BOB, BUILD, WORKFLOWS, House
from tests.provisioning.engine.driving import Begin, make_due


def queue(**more: Any) -> Run:
    """One run about nothing in particular."""
    with transaction.atomic():
        return start(BUILD, input=House("x"), **{"actor": BOB, "key": str(uuid4()), **more})


def claimed(workflows: Workflows = WORKFLOWS) -> Run | None:
    return claim(queue=Queue.OPERATIONS, known=workflows)


@pytest.mark.usefixtures("control")
class TestClaim:
    def test_takes_a_run_once_with_a_lease_and_a_fence(self) -> None:
        run = queue()
        taken = claimed()
        assert taken is not None
        assert (taken.pk, taken.state, taken.crashes, taken.held) == (run.pk, "running", 0, True)
        assert (taken.fence is not None, taken.owner != "", claimed()) == (True, True, None)

    def test_takes_a_lapsed_lease_with_a_higher_fence_and_counts_the_crash(self) -> None:
        queue()
        first = claimed()
        assert first is not None
        make_due(first)
        second = claimed()
        assert second is not None
        assert (second.pk, second.crashes) == (first.pk, 1)
        assert (second.fence or 0) > (first.fence or 0)
        crashed = second.events.get(kind="crashed")
        assert (crashed.fence, crashed.owner) == (first.fence, first.owner)

    def test_leaves_alone_what_is_not_due(self) -> None:
        run = queue()
        Run.objects.filter(pk=run.pk).update(run_at="2100-01-01T00:00Z")
        assert claimed() is None

    def test_leaves_alone_versions_it_has_no_code_for(self) -> None:
        queue()
        newer = Workflow(name=BUILD.name, version=2, queue=BUILD.queue, input=BUILD.input, steps=BUILD.steps)
        assert claimed({newer.key: newer}) is None
        assert claimed({newer.key: newer, BUILD.key: BUILD}) is not None

    def test_leaves_other_pools_alone(self) -> None:
        queue()
        assert claim(queue=Queue.FLEET, known=WORKFLOWS) is None

    def test_serves_the_more_urgent_first(self) -> None:
        later, sooner = queue(priority=4), queue(priority=2)
        assert [getattr(claimed(), "pk", None) for _ in range(2)] == [sooner.pk, later.pk]

    def test_serves_the_begun_before_the_queued(self) -> None:
        queue()
        begun = claimed()
        assert begun is not None
        queue()
        make_due(begun)
        again = claimed()
        assert again is not None
        assert again.pk == begun.pk

    def test_shares_between_those_who_asked(self) -> None:
        for _ in range(3):
            queue(fair_key="a rollout of thousands")
        one = queue(fair_key="somebody")
        taken = [claimed(), claimed()]
        assert one.pk in {run.pk for run in taken if run}

    def test_never_drives_more_than_the_limit_but_takes_back_a_lapsed_lease(self) -> None:
        RunLimit.objects.create(key="cluster:eu-1", max_running=2)
        for _ in range(4):
            queue(limit_key="cluster:eu-1")
        first, second = claimed(), claimed()
        assert (first is not None, second is not None, claimed()) == (True, True, None)
        elsewhere = queue(limit_key="cluster:us-1")
        assert getattr(claimed(), "pk", None) == elsewhere.pk
        assert first is not None
        make_due(first)
        assert getattr(claimed(), "pk", None) == first.pk
        assert claimed() is None

    def test_skips_a_row_that_somebody_is_writing(self) -> None:
        held, free = queue(), queue()
        other = connections.create_connection("default")
        try:
            other.set_autocommit(False)
            with other.cursor() as cursor:
                cursor.execute("SELECT 1 FROM provisioning_run WHERE id = %s FOR UPDATE", [held.pk])
            assert getattr(claimed(), "pk", None) == free.pk
            assert claimed() is None
        finally:
            other.rollback()
            other.close()
        assert getattr(claimed(), "pk", None) == held.pk

    def test_leaves_a_pulse(self) -> None:
        claimed()
        assert QueuePulse.objects.get().queue == Queue.OPERATIONS

    def test_holds_no_lock_when_it_returns(self) -> None:
        """A worker that freezes between two claims must not keep the others from claiming."""
        queue()
        claimed()
        assert connection.get_autocommit()
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
            assert cursor.fetchone() == (0,)


def test_a_child_and_an_operation_never_hold_one_tenant_together(begin: Begin, acme: Tenant) -> None:
    rollout = queue(lock_key="rollout:1")
    assert claimed() is not None
    row = rollout.steps.get(name="survey")
    context = StepContext(run=Run.objects.get(pk=rollout.pk), row=row, input=None)
    target = children.Child(target="acme", input=House("x"), lock_key=f"tenant:{acme.pk}")
    children.spawn(context, BUILD, [target], priority=3)
    operation = begin()  # queued children hold nothing, so it is accepted
    first = claimed()
    assert first is not None
    assert (claimed(), {first.pk} <= {operation.pk, rollout.children.get().pk}) == (None, True)
