"""SIGKILL around and inside the steps of a rollout: no target is taken twice, none is left, and each ends once."""

from collections.abc import Iterator

import pytest

from provisioning.engine.workflow import Workflow
from provisioning.models import Release, Rollout, Run, RunLimit
from provisioning.rollout.lanes import LANE
from provisioning.rollout.workflow import ROLLOUT
from tests.crashes.harness import BOUNDARIES, KILLED, Workers
from tests.provisioning.rollout.building import applied, approved, made, time_passes

pytestmark = [pytest.mark.long, pytest.mark.crash, pytest.mark.timeout(300)]

INSIDE = [f"take targets:inside:{number}:{side}" for number in range(1, 8) for side in ("before", "after")]


@pytest.fixture
def workers(release: Release) -> Iterator[Workers]:
    RunLimit.objects.update(max_running=1_000)  # dead workers hold their place in a cluster until their leases end
    with Workers("tests.provisioning.rollout.killing.WORKFLOWS") as workers:
        yield workers


def around(workflow: Workflow) -> list[str]:
    return [f"{step.name}:{moment}" for step in workflow.steps for moment in BOUNDARIES]


def kill(workers: Workers, *, at: str) -> bool:
    """A worker that drives what is there dies at that point; False if it comes there in no time."""
    for _turn in range(4):
        if workers.fork(dies_at=at).wait() == KILLED:
            return True
        time_passes()
    return False


@pytest.mark.parametrize("points", [around(ROLLOUT), around(LANE), INSIDE], ids=["rollout", "lane", "inside a lane"])
def test_a_kill_costs_only_time(release: Release, workers: Workers, points: list[str]) -> None:
    tenants, killed = [], 0
    for number, point in enumerate(points):
        group = made(3, first=3 * number)
        tenants += group
        approved(
            release, selection={"slugs": [tenant.slug for tenant in group]}, waves=[{"count": 2}, {"percent": 100}]
        )
        killed += kill(workers, at=point)
    assert killed > len(points) // 2
    for _turn in range(10):
        time_passes()
        workers.drive_all()
        if not Rollout.objects.filter(state="running").exists():
            break
    assert set(Rollout.objects.values_list("state", flat=True)) == {"succeeded"}
    assert set(Run.objects.values_list("state", flat=True)) == {"succeeded"}
    assert [applied(tenant) for tenant in tenants] == [1] * len(tenants)
