"""PostgreSQL is restarted at once (`-m immediate`) under workers at every boundary: on a stack of its own."""

import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from controlplane import env
from controlplane.stack import embedded
from controlplane.stack.files import scratch_folder
from provisioning.engine import control
from provisioning.models import Run, RunLimit
from tenants.models import Tenant
from tests import databases
from tests.crashes.harness import BOUNDARIES, KILLED, LONG_AGO, Worker, Workers, lapse, wait_for
from tests.provisioning.engine.building import BOB, WHOLE, calls, inventory
from tests.provisioning.engine.driving import Begin

pytestmark = [pytest.mark.long, pytest.mark.crash]

ALIASES = {
    "default": "DATABASE_URL",
    "owner": "DATABASE_OWNER_URL",
    "keyring": "KEYRING_URL",
    "keyring_owner": "KEYRING_OWNER_URL",
}


@pytest.fixture(scope="module")
def own_stack(django_db_blocker: Any) -> Iterator[embedded.Stack]:
    """Servers that this test may break: the process and its workers are turned to them, and back afterwards."""
    before = dict(os.environ)
    folder = scratch_folder()
    with django_db_blocker.unblock(), embedded.start(folder, durable=False) as stack:
        os.environ.update(stack.environment)
        _turn_to_environment()
        databases.migrate()
        yield stack
        os.environ.clear()
        os.environ.update(before)
        _turn_to_environment()
    shutil.rmtree(folder, ignore_errors=True)


def _turn_to_environment() -> None:
    databases.close_all()
    for alias, name in ALIASES.items():
        address = env.database(name)
        connections[alias].settings_dict.update({part: address[part] for part in ("USER", "PASSWORD", "PORT", "NAME")})


@pytest.fixture(scope="module")
def control_of_module(own_stack: embedded.Stack) -> embedded.Stack:
    return own_stack


def restart_postgres(stack: embedded.Stack) -> None:
    databases.close_all()
    stack.restart("postgres", by=signal.SIGQUIT)


def test_an_immediate_restart_at_any_moment_costs_only_time(
    begin: Begin, acme: Tenant, own_stack: embedded.Stack, workers: Workers, lot: Callable[[str], Path]
) -> None:
    points = [
        "survey:claimed",
        *(f"foundation:{moment}" for moment in BOUNDARIES),
        "count:started",
        "count:after_record",
        "count:before_record",  # holds acme's row, so it comes last
    ]
    sites = {point: lot(point) for point in points}
    frozen = []
    for point, site in sites.items():
        begin(at=site, lock_key=point)
        worker = workers.fork(stops_at=point)
        worker.wait_until_frozen()
        frozen.append(worker)

    restart_postgres(own_stack)
    for worker in frozen:
        worker.thaw()
        worker.wait()

    sites["recovery"] = lot("recovery")  # and now in recovery: a claim has just taken a lapsed run over
    begin(at=sites["recovery"], lock_key="recovery")
    assert workers.fork(dies_at="survey:claimed").wait() == KILLED
    lapse()
    recovering = workers.fork(stops_at="survey:claimed")
    recovering.wait_until_frozen()
    restart_postgres(own_stack)
    recovering.thaw()
    recovering.wait()

    workers.drive_all()
    assert set(Run.objects.values_list("state", flat=True)) == {"succeeded"}
    assert {point: inventory(site) for point, site in sites.items()} == dict.fromkeys(sites, WHOLE)
    acme.refresh_from_db()
    assert acme.version - 1 == len(sites)


def test_a_worker_cut_off_from_postgres_ends_itself_before_its_lease_does(
    begin: Begin, own_stack: embedded.Stack, workers: Workers, site: Path
) -> None:
    begin(trouble={"foundation": "work until lights"})
    worker = workers.fork(lease_s=1.5)
    wait_for(lambda: calls(site)["foundation"] == 1)
    databases.close_all()
    own_stack.end("postgres", by=signal.SIGQUIT)
    try:
        assert worker.wait() == -signal.SIGKILL
    finally:
        own_stack.begin("postgres")


LEASE_S = 1.0
RUNS, LIMIT, CREW, FAULTS = 14, 3, 3, 14


def test_a_storm_of_all_faults_at_once_leaves_every_run_whole_or_gone(
    begin: Begin, own_stack: embedded.Stack, workers: Workers, lot: Callable[[str], Path]
) -> None:
    """Killed, frozen and doubled workers and a server that restarts, at moments drawn from the printed seed."""
    seed = int(os.environ.get("TENURE_STORM_SEED", random.randrange(10**6)))
    print(f"TENURE_STORM_SEED={seed}")  # noqa: T201  to see the same storm again
    dice = random.Random(seed)
    RunLimit.objects.create(key="cluster:eu-1", max_running=LIMIT)
    troubles = [{}, {"count": "transient once"}, {"walls": "transient once"}, {"roof": "permanent"}]
    sites = {}
    for number in range(RUNS):
        site = lot(f"storm {number}")
        run = begin(at=site, lock_key=str(site), limit_key="cluster:eu-1", trouble=dice.choice(troubles))
        sites[run.pk] = site

    crew = [workers.fork(forever=True, lease_s=LEASE_S) for _ in range(CREW)]
    frozen: list[Worker] = []
    for _fault in range(FAULTS):
        place = dice.randrange(CREW)
        match dice.choice(["kill", "kill", "freeze", "freeze", "restart", "wake"]):
            case "kill":
                os.kill(crew[place].pid, signal.SIGKILL)
                crew[place] = workers.fork(forever=True, lease_s=LEASE_S)
            case "freeze":
                crew[place].freeze()
                frozen.append(crew[place])
                crew[place] = workers.fork(forever=True, lease_s=LEASE_S, self_kill=dice.random() < 0.5)
            case "restart":
                restart_postgres(own_stack)
            case "wake":
                workers.fork(lease_s=LEASE_S)
        wait_for(something_moved(dice.uniform(0.1, 0.6)))
        assert Run.objects.filter(lease_until__isnull=False).count() <= LIMIT
    for worker in frozen:
        worker.thaw()
    for _member in range(CREW):  # some have killed themselves, as they should
        workers.fork(forever=True, lease_s=LEASE_S)
    wait_for(all_ended, within_s=60)

    runs = list(Run.objects.all())
    expected = {run.pk: "failed" if run.input["trouble"] == {"roof": "permanent"} else "succeeded" for run in runs}
    assert {run.pk: run.state for run in runs} == expected
    built = {"failed": [], "succeeded": WHOLE}
    assert {pk: inventory(site) for pk, site in sites.items()} == {pk: built[expected[pk]] for pk in sites}


def something_moved(within_s: float) -> Callable[[], bool]:
    """Let the workers work for a while; what waits for a day of drying plaster is due at once."""
    until = time.monotonic() + within_s

    def moved() -> bool:
        _make_due()
        return time.monotonic() > until

    return moved


def all_ended() -> bool:
    _make_due()
    for run in Run.objects.filter(state="parked", error__code="WORKER_DIED"):  # met five faults in one step
        control.retry(run, reason="the storm is over", actor=BOB)
    return not Run.objects.filter(finished_at=None).exists()


def _make_due() -> None:
    Run.objects.filter(state="running", lease_until=None).update(run_at=LONG_AGO)
