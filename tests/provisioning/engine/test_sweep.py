from collections.abc import Iterator
from typing import Any

import pytest
from django.core.checks import Tags, run_checks

from provisioning.engine import bell
from provisioning.engine.findings import findings
from provisioning.engine.sweep import prune_keys, sweep
from provisioning.engine.workflow import Workflow
from provisioning.models import IdempotencyKey, Queue, QueuePulse, Run
from tests.provisioning.engine.building import BUILD, WORKFLOWS
from tests.provisioning.engine.driving import Begin, drive, drive_on, error_of

LONG_AGO = "2000-01-01T00:00Z"


@pytest.fixture
def rings() -> Iterator[list[Queue]]:
    heard: list[Queue] = []
    before, bell.ring = bell.ring, heard.append
    yield heard
    bell.ring = before


def codes(workflows: dict[tuple[str, int], Workflow] = WORKFLOWS) -> set[tuple[str, str]]:
    return {(found.code, found.severity) for found in findings(workflows)}


def test_a_forgotten_wake_up_is_rung_again(begin: Begin, rings: list[Queue]) -> None:
    begin()
    rings.clear()
    sweep(WORKFLOWS)
    assert rings.count(Queue.OPERATIONS) == 1


def test_the_sweeper_drives_by_itself_when_nobody_answers(begin: Begin) -> None:
    run = begin()
    Run.objects.filter(pk=run.pk).update(run_at=LONG_AGO)
    sweep(WORKFLOWS)
    run.refresh_from_db()
    assert (run.state, run.step) == ("running", "walls")


def test_the_sweeper_leaves_fresh_work_to_the_workers(begin: Begin) -> None:
    run = begin()
    sweep(WORKFLOWS)
    run.refresh_from_db()
    assert run.state == "queued"


def test_a_run_that_waits_past_its_deadline_is_parked_and_says_so(begin: Begin) -> None:
    run = drive(begin())
    Run.objects.filter(pk=run.pk).update(deadline_at=LONG_AGO)
    sweep(WORKFLOWS)
    run.refresh_from_db()
    assert (run.state, error_of(run)["code"], error_of(run)["step"]) == ("parked", "OVERDUE", "walls")


def test_a_waiting_step_that_wakes_after_its_deadline_is_parked_too(begin: Begin) -> None:
    run = drive(begin())
    Run.objects.filter(pk=run.pk).update(deadline_at=LONG_AGO, run_at=LONG_AGO)
    assert (drive(run).state, error_of(run)["code"]) == ("parked", "OVERDUE")


def test_a_queued_run_past_its_deadline_stays_queued_and_is_a_finding(begin: Begin) -> None:
    run = begin()
    Run.objects.filter(pk=run.pk).update(deadline_at=LONG_AGO)
    sweep(WORKFLOWS)
    run.refresh_from_db()
    assert run.state == "queued"
    assert ("run.stalled", "warning") in codes()
    assert drive_on(run).state == "succeeded"  # the deadline of a step counts from its first start


def test_a_parked_run_is_a_finding_that_turns_critical(begin: Begin) -> None:
    run = drive_on(begin(trouble={"walls": "bug"}))
    assert ("run.parked", "error") in codes()
    Run.objects.filter(pk=run.pk).update(deadline_at=LONG_AGO)
    sweep(WORKFLOWS)
    assert ("run.parked", "critical") in codes()


def test_a_version_nobody_has_code_for_waits_with_a_finding(begin: Begin) -> None:
    run = drive(begin())
    newer = Workflow(name=BUILD.name, version=2, queue=BUILD.queue, input=BUILD.input, steps=BUILD.steps[:1])
    assert ("run.unknown_version", "error") in codes({newer.key: newer})
    assert drive(run, workflows={newer.key: newer}).step == "walls"
    assert drive_on(run, workflows={newer.key: newer, BUILD.key: BUILD}).state == "succeeded"  # with the steps of v1
    assert ("run.unknown_version", "error") not in codes()


def test_a_deploy_that_drops_a_version_in_use_is_refused(begin: Begin) -> None:
    begin()  # of a workflow that only these tests know
    messages = run_checks(tags=[Tags.database], databases=["default"])
    assert [message.id for message in messages if "'build'" in message.msg] == ["provisioning.E001"]


def test_a_pool_nobody_looks_after_is_a_finding(begin: Begin) -> None:
    assert ("queue.silent", "error") in codes()
    for queue in Queue:
        QueuePulse.objects.create(queue=queue)
    assert ("queue.silent", "error") not in codes()


def key(**more: Any) -> IdempotencyKey:
    fields = {"principal": "bob", "key": "k", "fingerprint": bytes(32), "expires_at": LONG_AGO, **more}
    return IdempotencyKey.objects.create(**fields)


def test_stored_answers_are_forgotten_after_their_time_and_their_runs_end(begin: Begin) -> None:
    run = begin()
    key(key="of an open run", run=run)
    key(key="old")
    key(key="new", expires_at="2100-01-01T00:00Z")
    prune_keys()
    assert set(IdempotencyKey.objects.values_list("key", flat=True)) == {"of an open run", "new"}
    drive_on(run)
    prune_keys()
    assert set(IdempotencyKey.objects.values_list("key", flat=True)) == {"new"}
