"""PostgreSQL is restarted at once (`-m immediate`) under workers at every boundary: on a stack of its own."""

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from controlplane import env
from controlplane.stack import embedded
from provisioning.models import Run
from tenants.models import Tenant
from tests import databases
from tests.crashes.harness import BOUNDARIES, Workers, lapse, wait_for
from tests.provisioning.engine.building import WHOLE, calls, inventory
from tests.provisioning.engine.driving import Begin

pytestmark = pytest.mark.crash

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
    folder = Path(tempfile.mkdtemp(prefix="tenure-"))
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

    lapse()  # and now in recovery: a claim has just taken a lapsed run over
    recovering = workers.fork(stops_at="survey:claimed")
    recovering.wait_until_frozen()
    restart_postgres(own_stack)
    recovering.thaw()
    recovering.wait()

    workers.drive_all()
    assert set(Run.objects.values_list("state", flat=True)) == {"succeeded"}
    assert {point: inventory(site) for point, site in sites.items()} == dict.fromkeys(points, WHOLE)
    acme.refresh_from_db()
    assert acme.version - 1 == len(points)


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
