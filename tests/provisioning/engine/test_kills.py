"""SIGKILL at every boundary of every step, do and undo. All runs of a test are killed first and driven on together."""

from collections.abc import Callable
from pathlib import Path

import pytest

from provisioning.engine.failpoint import Moment
from provisioning.models import Run
from tenants.models import Tenant
from tests.crashes.harness import KILLED, Workers, boundaries, lapse, undo_boundaries
from tests.provisioning.engine.building import BUILD, SELL, WHOLE, inventory
from tests.provisioning.engine.driving import Begin

pytestmark = [pytest.mark.long, pytest.mark.crash]


def visits(acme: Tenant) -> int:
    acme.refresh_from_db()
    return acme.version - 1


def states() -> set[str]:
    return set(Run.objects.values_list("state", flat=True))


def test_a_kill_at_any_boundary_costs_only_time(
    begin: Begin, acme: Tenant, workers: Workers, lot: Callable[[str], Path]
) -> None:
    points = [point for point in boundaries(BUILD) if not point.startswith("roof")]
    sites = {point: lot(point) for point in points}
    for point, site in sites.items():
        begin(at=site, lock_key=point)
        assert workers.fork(dies_at=point).wait() == KILLED
    workers.drive_all()
    assert states() == {"succeeded"}
    assert {point: inventory(site) for point, site in sites.items()} == dict.fromkeys(points, WHOLE)
    assert visits(acme) == len(points)  # the atomic step counted once in every run


def test_a_kill_at_any_boundary_after_a_wait_costs_only_time(
    begin: Begin, acme: Tenant, workers: Workers, lot: Callable[[str], Path]
) -> None:
    points = [point for point in boundaries(BUILD) if point.startswith("roof")] + [f"walls:{Moment.CLAIMED}"]
    sites = {point: lot(point) for point in points}
    for point, site in sites.items():
        run = begin(at=site, lock_key=point)
        assert workers.fork().wait() == 0  # to the wait of the walls
        Run.objects.filter(pk=run.pk).update(run_at="2000-01-01T00:00Z")
        assert workers.fork(dies_at=point).wait() == KILLED
    workers.drive_all()
    assert (states(), visits(acme)) == ({"succeeded"}, len(points))
    assert {point: inventory(site) for point, site in sites.items()} == dict.fromkeys(points, WHOLE)


def test_a_kill_at_any_boundary_of_any_undo_leaves_nothing_behind(
    begin: Begin, acme: Tenant, workers: Workers, lot: Callable[[str], Path]
) -> None:
    points = undo_boundaries(BUILD)
    sites = {point: lot(point) for point in points}
    for point, site in sites.items():
        run = begin(at=site, lock_key=point, trouble={"roof": "permanent"})
        assert workers.fork().wait() == 0
        Run.objects.filter(pk=run.pk).update(run_at="2000-01-01T00:00Z")
        assert workers.fork(dies_at=point).wait() == KILLED
    workers.drive_all()
    assert (states(), visits(acme)) == ({"failed"}, 0)
    assert [inventory(site) for site in sites.values()] == [[] for _point in points]


def test_a_kill_between_any_two_requests_of_a_body_costs_only_time(
    begin: Begin, workers: Workers, lot: Callable[[str], Path], tmp_path: Path
) -> None:
    begin(at=lot("undisturbed"))
    calls = workers.calls_of(tmp_path / "calls of bodies")
    assert calls["foundation"] >= 2  # both checks of its fence
    points = [
        f"{step}:inside:{number}:{side}"
        for step, count in calls.items()
        for number in range(1, count + 1)
        for side in ("before", "after")
    ]
    lapse()
    workers.drive_all()
    sites = {point: lot(point) for point in points if not point.startswith("walls")}
    for point, site in sites.items():
        begin(at=site, lock_key=point)
        assert workers.fork(dies_at=point).wait() == KILLED
    workers.drive_all()
    assert states() == {"succeeded"}
    assert {point: inventory(site) for point, site in sites.items()} == dict.fromkeys(sites, WHOLE)


def test_a_crash_inside_the_pivot_leaves_only_the_way_forward(begin: Begin, acme: Tenant, workers: Workers) -> None:
    run = begin(SELL)
    assert workers.fork(dies_at="sign:started").wait() == KILLED
    run.refresh_from_db()
    assert (run.pivoted, run.steps.get(name="sign").state) == (True, "started")
    workers.drive_all()
    run.refresh_from_db()
    assert (run.state, visits(acme)) == ("succeeded", 1)


def test_a_step_that_kills_its_worker_is_parked_and_its_neighbours_finish(
    begin: Begin, workers: Workers, lot: Callable[[str], Path]
) -> None:
    poison = begin(at=lot("poison"), lock_key="poison", trouble={"foundation": "exit"})
    healthy = [begin(at=lot(f"neighbour {n}"), lock_key=f"n{n}") for n in range(3)]
    died = 0
    for _turn in range(12):
        lapse()
        died += workers.fork().wait() != 0
    poison.refresh_from_db()
    assert (poison.state, poison.error and poison.error["code"], died) == ("parked", "WORKER_DIED", 5)
    assert poison.steps.get(name="foundation").crashes == 5
    for run in healthy:
        run.refresh_from_db()
        assert run.state == "succeeded"


def test_crashes_are_forgiven_after_progress(begin: Begin, workers: Workers) -> None:
    run = begin()
    for point in ("survey:started", "foundation:started", "count:started"):
        assert workers.fork(dies_at=point).wait() == KILLED
        lapse()
    workers.drive_all()
    run.refresh_from_db()
    assert (run.state, run.crashes) == ("succeeded", 0)
    assert list(run.steps.order_by("position").values_list("crashes", flat=True)) == [1, 1, 1, 0, 0]
    assert run.events.filter(kind="crashed").count() == 3
