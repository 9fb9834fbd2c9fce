"""Workers that freeze, hang or compete: real processes, one second of lease."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from django.db.models.functions import Now

from provisioning.models import Run
from tenants.models import Tenant
from tests.crashes.harness import KILLED, Workers, wait_for
from tests.provisioning.engine.building import BUILD, DIG, WHOLE, calls, inventory
from tests.provisioning.engine.driving import Begin, error_of, make_due

pytestmark = [pytest.mark.long, pytest.mark.crash]

LEASE_S = 1.0


def rows(run: Run) -> list[object]:
    """All that a late worker could have written."""
    run.refresh_from_db()
    steps = run.steps.order_by("id").values_list("state", "fence", "output", "attempts", "crashes", "finished_at")
    return [run.state, run.fence, run.error, run.finished_at, *steps, run.events.count()]


def past_its_lease(run: Run) -> Callable[[], bool]:
    return lambda: Run.objects.filter(pk=run.pk, lease_until__lt=Now()).exists()


def finish(run: Run, workers: Workers) -> None:
    """Another worker takes the run over as soon as it may, and ends it."""
    other = workers.fork(forever=True)

    def ended() -> bool:
        run.refresh_from_db()
        make_due_if_waiting(run)
        return run.ended

    wait_for(ended)
    other.kill()


def make_due_if_waiting(run: Run) -> None:
    Run.objects.filter(pk=run.pk, state="running", lease_until=None).update(run_at="2000-01-01T00:00Z")


@pytest.mark.parametrize("self_kill", [True, False], ids=["kills itself", "is stopped by the fence alone"])
@pytest.mark.parametrize("step", ["survey", "foundation", "count"])
def test_a_worker_frozen_past_its_lease_writes_nothing(
    begin: Begin, site: Path, acme: Tenant, workers: Workers, step: str, *, self_kill: bool
) -> None:
    run = begin(trouble={step: "work until lights"})
    frozen = workers.fork(lease_s=LEASE_S, self_kill=self_kill)
    wait_for(lambda: calls(site)[step] == 1)
    frozen.freeze()
    (site / "lights").touch()
    wait_for(past_its_lease(run))
    finish(run, workers)  # the atomic step's transaction too: PostgreSQL ends the frozen session
    before = rows(run)
    frozen.thaw()
    assert frozen.wait() == (KILLED if self_kill else 0)
    assert rows(run) == before
    acme.refresh_from_db()
    assert (run.state, inventory(site), acme.version) == ("succeeded", WHOLE, 2)


def test_a_body_longer_than_the_lease_keeps_it(begin: Begin, site: Path, workers: Workers) -> None:
    run = begin(trouble={"foundation": "work until lights"})
    worker = workers.fork(lease_s=LEASE_S)
    wait_for(lambda: calls(site)["foundation"] == 1)
    rival = workers.fork(lease_s=LEASE_S, forever=True)
    run.refresh_from_db()
    first_lease = run.lease_until
    assert first_lease is not None
    wait_for(lambda: past(first_lease))
    (site / "lights").touch()
    assert worker.wait() == 0
    rival.kill()
    run.refresh_from_db()
    assert (run.step, run.crashes, calls(site)["foundation"]) == ("walls", 0, 1)


def past(moment: datetime) -> bool:
    """By the database's clock."""
    return Run.objects.annotate(now=Now()).filter(now__gt=moment).exists()


def test_a_body_that_hangs_past_its_timeout_counts_as_a_crash(begin: Begin, workers: Workers) -> None:
    run = begin(DIG, trouble={"hole": "hang"})
    assert workers.fork(lease_s=LEASE_S).wait() == KILLED
    make_due(run)
    assert workers.fork(lease_s=LEASE_S).wait() == KILLED
    run.refresh_from_db()
    assert (run.state, run.crashes, run.events.filter(kind="crashed").count()) == ("running", 1, 1)


def test_a_step_that_hangs_for_ever_is_parked(begin: Begin, workers: Workers) -> None:
    run = begin(DIG, trouble={"hole": "hang"})
    for _turn in range(6):
        workers.fork(lease_s=0.5).wait()
        make_due(run)
    run.refresh_from_db()
    assert (run.state, error_of(run)["code"]) == ("parked", "WORKER_DIED")


def test_a_step_that_eats_memory_parks_its_run_alone(begin: Begin, site: Path, workers: Workers) -> None:
    run = begin(trouble={"foundation": "too much"})
    assert workers.fork().wait() == 0
    run.refresh_from_db()
    assert (run.state, error_of(run)["code"]) == ("parked", "UNFORESEEN")


@pytest.mark.parametrize("shift_s", [0, 3600, -3600], ids=["right clocks", "an hour fast", "an hour slow"])
def test_two_workers_and_many_wake_ups_do_each_thing_once(
    begin: Begin, tmp_path: Path, acme: Tenant, workers: Workers, shift_s: float
) -> None:
    sites = [tmp_path / f"lot {number}" for number in range(8)]
    for site in sites:
        site.mkdir()
        begin(BUILD, at=site, lock_key=str(site))
    crowd = [workers.fork(clock_shift_s=shift_s) for _ in range(2)]
    crowd += [workers.fork() for _ in range(4)]
    assert [worker.wait() for worker in crowd] == [0] * 6
    workers.drive_all()
    once = {"survey": 1, "foundation": 1, "count": 1, "walls": 5, "roof": 1}
    assert [dict(calls(site)) for site in sites] == [once] * 8
    acme.refresh_from_db()
    assert acme.version == 1 + 8
