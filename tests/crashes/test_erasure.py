"""SIGKILL within erasures, and servers that go away: the same end, and the same certificate."""

import os
import random
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.db import connections

from controlplane.stack.embedded import Stack
from provisioning.engine.failpoint import Moment
from provisioning.erasure import verbs
from provisioning.erasure.certificate import verify
from provisioning.erasure.issuing import public_key
from provisioning.erasure.registry import REGISTRY
from provisioning.erasure.rounds import boundary_of
from provisioning.models import ErasureCertificate, ErasureRequest, ErasureState, Run, RunLimit
from provisioning.workflows.erase import ERASE
from provisioning.workflows.erase_sweep import sweep_erasures
from tenants.models import Tenant
from tenants.states import TenantState, Tier
from tests.crashes.harness import BOUNDARIES, KILLED, LONG_AGO, Workers, lapse
from tests.provisioning.erasure.small import ALICE, approve
from tests.provisioning.erasure.whole import filled, found_of, stored

MOST_POINTS = int(os.environ.get("TENURE_KILL_POINTS", "2"))  # drawn anew in each run: all of them take half an hour
pytestmark = [pytest.mark.crash, pytest.mark.timeout(300 + 20 * MOST_POINTS)]

PHASES = {
    "disable keys": 2,
    "erase outside stores": 3,
    "erase queues and caches": 4,
    "erase rows": 5,
    "erase outside stores again": 6,
    "destroy keys": 7,
    "erase audit payloads": 8,
    "erase control residue": 9,
}
SAME = ("store", "planned", "retained", "remaining", "verdict", "covered", "waived", "late")


def points_of_all() -> list[str]:
    """Before and behind each step, and every boundary of each eraser's chunks, in the order a request comes by."""
    found = list[str]()
    erasers = REGISTRY.erasers_of("tenant")
    for step in ERASE.steps:
        chunks = [each for each in erasers if each.phase == PHASES.get(step.name)]
        found.append(f"{step.name}:{Moment.STARTED}")
        found += [f"{boundary_of(eraser)}:{moment}" for eraser in chunks for moment in BOUNDARIES]
        found.append(f"{step.name}:{Moment.BODY_DONE}")
    assert sum(" in phase " in point for point in found) == len(erasers) * len(BOUNDARIES)
    return found


@pytest.fixture
def workers(house: None, settings: Any) -> Iterator[Workers]:
    settings.TENURE_ERASURE_SOAK_S = 0
    RunLimit.objects.update(max_running=1_000)  # dead workers hold their place in a cluster until their leases end
    with Workers("provisioning.workflows.WORKFLOWS") as workers:
        yield workers


@pytest.mark.drawn(1)
@pytest.mark.parametrize("tier", list(Tier))
def test_a_kill_anywhere_and_a_server_away_cost_only_time(stack: Stack, workers: Workers, tier: Tier) -> None:
    seed = int(os.environ.get("TENURE_KILL_SEED", random.randrange(10**6)))
    print(f"TENURE_KILL_SEED={seed}")  # noqa: T201  to kill at the same points again; TENURE_KILL_POINTS=1000 takes all
    every = points_of_all()
    points = sorted(random.Random(seed).sample(every, min(MOST_POINTS, len(every))), key=every.index)
    tenants = [filled(f"acme-{number}-gmbh", tier) for number in range(len(points) + 1)]
    for tenant in tenants:
        stored(tenant).asked()
    swept(workers)
    for request in ErasureRequest.objects.all():
        approve(verbs.propose_erasure(request, actor=ALICE, key=str(uuid4())))
    while swept(workers, until=ErasureState.FREEZING):
        pass

    for point in points:
        assert workers.fork(dies_at=point, slice_s=20).wait() == KILLED, point
    frozen = workers.fork(stops_at=f"erase rows:{Moment.STARTED}")
    frozen.wait_until_frozen()
    connections.close_all()
    for server in ("postgres", "object-store"):
        stack.restart(server)
    frozen.thaw()
    frozen.wait()
    driven(workers)
    while swept(workers, until=ErasureState.SETTLING):
        pass

    assert set(Run.objects.values_list("state", flat=True)) == {"succeeded"}
    assert set(Tenant.objects.values_list("state", flat=True)) == {TenantState.ERASED}
    papers = [verify(each.document.encode(), public_key()).document for each in ErasureCertificate.objects.all()]
    assert len(papers) == len(tenants)
    said = {str([[line[name] for name in SAME] for line in paper["stores"]]) for paper in papers}
    assert len(said) == 1, "\n".join(sorted(said))
    assert all(paper["retained"] == [] for paper in papers)
    slugs = tuple(f"acme-{number}-gmbh" for number in range(len(tenants)))
    assert {place for place, _word in found_of(stack, slugs)} <= {"object-store.log"}


def swept(workers: Workers, *, until: str = "") -> bool:
    """As if every date had come, and workers at it. False, before they are, when all requests are in that state."""
    ErasureRequest.objects.filter(look_at__isnull=False).update(look_at=LONG_AGO)
    sweep_erasures()
    if not ErasureRequest.objects.exclude(state=until).exists():
        return False
    driven(workers)
    return True


def driven(workers: Workers) -> None:
    """Whatever is runnable, by workers that end soon: several whole erasures take longer than one may."""
    while Run.objects.filter(state__in=["queued", "running"]).exists():
        lapse()
        assert workers.fork(slice_s=10).wait() == 0
