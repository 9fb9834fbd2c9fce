"""A rehearsal and a repair that a worker does: killed in the middle, and driven on by another."""

import json
from collections.abc import Iterator

import pytest

from provisioning import lifecycle
from provisioning.databases.servers import connect, run
from provisioning.errors import OperationInProgress
from provisioning.models import AdoptedDrift, Queue, Rehearsal, ReleasePath, Rollout, Run
from provisioning.rollout import seams
from provisioning.rollout.drift import State, stands, target_named
from provisioning.rollout.repair import NothingToRepair, plan_repair
from tenants.audit import AuditAction
from tenants.errors import StateConflict
from tenants.models import AuditEntry, Cluster, Pool
from tests.crashes.harness import KILLED, Workers, lapse, wait_for
from tests.fleet import BILLING, onboarded
from tests.provisioning.rollout.building import ALICE, PLACEHOLDER, next_release, proposed
from tests.provisioning.rollout.conftest import Change
from tests.provisioning.rollout.test_rehearsal import left

pytestmark = [pytest.mark.long, pytest.mark.crash]

WIDER = f"ALTER TABLE {PLACEHOLDER}.projects_project ADD COLUMN size integer NOT NULL DEFAULT 0"
ASLEEP = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'tenure:replay' AND wait_event = 'PgSleep'"


@pytest.fixture
def workers(house: None) -> Iterator[Workers]:
    with Workers("provisioning.workflows.WORKFLOWS") as workers:
        yield workers


def draft(monkeypatch: pytest.MonkeyPatch, *statements: str) -> Rollout:
    """Of a release that no copy ends as, since nobody published it: there is something to object to."""
    monkeypatch.setattr(seams, "path_between", seams.recorded_path)
    Pool.objects.update(ready_at=None)
    onboarded("acme")
    return proposed(next_release(statements=statements))


def driven_on(run: Run) -> Run:
    lapse()
    lifecycle.advance(queue=Queue.FLEET)
    run.refresh_from_db()
    return run


def test_a_rehearsal_killed_among_its_copies_is_begun_anew_and_leaves_none(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    rollout = draft(monkeypatch, "SELECT pg_sleep(60)", WIDER)
    asked = lifecycle.start_rehearsal(rollout, actor=BILLING, key="rehearse it")
    assert lifecycle.start_rehearsal(rollout, actor=BILLING, key="rehearse it") == asked
    with pytest.raises(OperationInProgress):
        lifecycle.start_rehearsal(rollout, actor=BILLING, key="and once more")
    assert not Rehearsal.objects.exists()  # nobody waited for it
    worker = workers.fork()
    with connect(Cluster.objects.get()) as connection:
        wait_for(lambda: bool(run(connection, ASLEEP)))
    assert worker.kill() == KILLED
    assert left() != []
    for path in ReleasePath.objects.all():  # so that the next worker does not sleep as well
        acts = [{**migration, "acts": migration["acts"][1:]} for migration in path.migrations]
        ReleasePath.objects.filter(pk=path.pk).update(migrations=acts)
    assert driven_on(asked).state == "succeeded", asked.error
    killed, finished = Rehearsal.objects.order_by("started_at")
    assert [(each.state, each.run_id, each.started_by) for each in (killed, finished)] == [
        ("failed", asked.pk, str(BILLING)),
        ("finished", asked.pk, str(BILLING)),
    ]
    assert left() == []


def test_a_rehearsal_that_came_to_its_end_is_not_done_again(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    rollout = draft(monkeypatch, WIDER)
    asked = lifecycle.start_rehearsal(rollout, actor=BILLING, key="rehearse it")
    assert workers.fork(dies_at="rehearse:body_done").wait() == KILLED
    assert driven_on(asked).state == "succeeded"
    rehearsal = Rehearsal.objects.get()
    assert (rehearsal.state, [each["code"] for each in rehearsal.findings]) == ("finished", ["COPY_FAILED"])
    # What is no draft any more when a worker comes to it is not rehearsed, and the operation says so.
    late = lifecycle.start_rehearsal(rollout, actor=BILLING, key="rehearse it later")
    rollout.refresh_from_db()
    lifecycle.approve_rollout(rollout, digest=rollout.plan_digest, actor=ALICE, override="It has no rows.")
    with pytest.raises(StateConflict):
        lifecycle.start_rehearsal(rollout, actor=BILLING, key="too late")
    Rollout.objects.filter(pk=rollout.pk).update(starts_at="2100-01-01T00:00Z")
    assert (driven_on(late).state, (late.error or {})["code"]) == ("failed", "REHEARSAL_REFUSED")


def test_a_repair_killed_after_its_commit_is_not_sent_twice_and_is_told_once(workers: Workers, change: Change) -> None:
    onboarded("acme")
    target = change("acme", "ALTER TABLE {0}.projects_project ADD spare int")
    lifecycle.adopt_drift(target=target, reason="Their report reads it.", actor=BILLING)
    plan = plan_repair(target=target)
    asked = lifecycle.start_repair(plan=plan, actor=BILLING, key="repair it")
    with pytest.raises(OperationInProgress):
        lifecycle.repair_drift(target=target, digest=plan.digest, actor=BILLING)
    assert stands(target).state == State.ADOPTED
    assert workers.fork(dies_at="repair:body_done").wait() == KILLED
    assert stands(target).state == State.AS_RELEASED
    assert AdoptedDrift.objects.get().ended_at is None
    assert driven_on(asked).state == "succeeded", asked.error
    assert AdoptedDrift.objects.get().ended_at is not None
    told = json.loads(AuditEntry.objects.get(body__contains=f'"{AuditAction.DRIFT_REPAIRED}"').body)
    assert (told["operation"], told["counts"]) == (str(asked.pk), {"findings": 1})
    assert lifecycle.start_repair(plan=plan, actor=BILLING, key="repair it") == asked
    with pytest.raises(NothingToRepair):
        lifecycle.start_repair(plan=plan_repair(target=target), actor=BILLING, key="and once more")


def test_a_repair_sends_nothing_but_what_was_confirmed(change: Change) -> None:
    onboarded("acme")
    target = change("acme", "ALTER TABLE {0}.projects_project ADD spare int")
    asked = lifecycle.start_repair(plan=plan_repair(target=target), actor=BILLING, key="repair it")
    change("acme", "ALTER TABLE {0}.projects_project ADD precious text")
    before = stands(target_named("acme"))
    assert (driven_on(asked).state, (asked.error or {})["code"]) == ("failed", "PLAN_CHANGED")
    assert stands(target) == before
