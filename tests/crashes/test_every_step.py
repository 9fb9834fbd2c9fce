"""SIGKILL around every step of every registered workflow: the operation ends as if nothing had happened.

Each moment gets a tenant of its own. All are killed first, by real processes, and then driven on together.
"""

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from controlplane.stack.embedded import Stack
from provisioning import lifecycle
from provisioning.engine.failpoint import Moment
from provisioning.engine.workflow import Workflow
from provisioning.models import Resource, Run, RunLimit
from provisioning.rollout.lanes import LANE
from provisioning.rollout.rehearsing import REHEARSE
from provisioning.rollout.repairing import REPAIR
from provisioning.rollout.workflow import ROLLOUT
from provisioning.workflows import WORKFLOWS
from provisioning.workflows.delete import DELETE
from provisioning.workflows.erase import ERASE, ERASE_AGAIN
from provisioning.workflows.erase_looks import CHECK_ERASURE, PLAN_ERASURE
from provisioning.workflows.export import EXPORT
from provisioning.workflows.onboard import ONBOARD
from provisioning.workflows.replay_erasure import REPLAY_ERASURE
from provisioning.workflows.resources import DOORS
from provisioning.workflows.resume import RESUME
from provisioning.workflows.rotate_credentials import ROTATE_CREDENTIALS
from provisioning.workflows.suspend import SUSPEND
from provisioning.workflows.undelete import UNDELETE
from tenants.models import Event, Tenant
from tenants.states import TenantState, Tier
from tests.crashes.harness import KILLED, LONG_AGO, Workers, before_pivot
from tests.crashes.inventory import NOTHING, inventory, number_of_things, things, whole
from tests.fleet import BILLING, accepted, done, onboarded

pytestmark = [pytest.mark.long, pytest.mark.crash, pytest.mark.timeout(300)]

AROUND_THE_EFFECT = (Moment.STARTED, Moment.BODY_DONE)  # the engine's own tests kill at its other boundaries
MOST_POINTS = 6  # of one run of the tests, drawn anew each time: all of them take minutes
SERVERS_STEPS = ("create database", "create role", "create bucket")  # those with more than one request to a server

Start = Callable[[str, Tier], Run]


def begin_onboarding(slug: str, tier: Tier) -> Run:
    return accepted(slug, tier)


def begin_rotation(slug: str, tier: Tier) -> Run:
    return lifecycle.rotate_credentials(tenant=onboarded(slug, tier), reason="yearly", actor=BILLING, key=str(uuid4()))


def begin_leaving(verb: Callable[..., Run], *before: Callable[..., Run]) -> Start:
    """One verb of a tenant that has gone through others."""

    def begin(slug: str, tier: Tier) -> Run:
        tenant = onboarded(slug, tier)
        for each in before:
            tenant = done(each, tenant)
        return verb(tenant=tenant, reason="as the test has it", actor=BILLING, key=str(uuid4()))

    return begin


EXAMPLES: dict[tuple[str, int], tuple[Start, tuple[Tier, ...]]] = {
    ONBOARD.key: (begin_onboarding, (Tier.SCHEMA, Tier.POOL)),
    ROTATE_CREDENTIALS.key: (begin_rotation, (Tier.SCHEMA,)),  # in a pool there is no password of a tenant's own
    SUSPEND.key: (begin_leaving(lifecycle.suspend), (Tier.SCHEMA, Tier.POOL)),
    RESUME.key: (begin_leaving(lifecycle.resume_tenant, lifecycle.suspend), (Tier.SCHEMA, Tier.POOL)),
    DELETE.key: (begin_leaving(lifecycle.delete_tenant), (Tier.POOL,)),
    EXPORT.key: (begin_leaving(lifecycle.export_tenant), (Tier.POOL,)),
    UNDELETE.key: (begin_leaving(lifecycle.undelete, lifecycle.delete_tenant), (Tier.POOL,)),
}
"""How a run of each workflow begins, and in which tiers. A workflow without an example fails the test below."""
ELSEWHERE = {ROLLOUT.key, LANE.key}  # they are about many tenants: tests/provisioning/rollout/test_kills.py
ELSEWHERE |= {REHEARSE.key, REPAIR.key}  # tests/provisioning/rollout/test_asked_for.py
ELSEWHERE |= {
    PLAN_ERASURE.key,
    ERASE.key,
    ERASE_AGAIN.key,
    CHECK_ERASURE.key,
    REPLAY_ERASURE.key,
}  # tests/provisioning/erasure
ENDS = {SUSPEND.key: TenantState.SUSPENDED, DELETE.key: TenantState.DELETED}
"""In which state a tenant is then; in the others it is active. Nothing that it owns is gone in any of them."""
THEIR_OWN = {DELETE.key, UNDELETE.key}
"""Their doors are those of suspending and resuming, which are killed at each: here at the states alone."""
CASES = [(WORKFLOWS[key], tier) for key, (_begin, tiers) in EXAMPLES.items() for tier in tiers]


@pytest.fixture
def workers(house: None) -> Iterator[Workers]:
    RunLimit.objects.update(max_running=1_000)  # dead workers hold their place in a cluster until their leases end
    with Workers("provisioning.workflows.WORKFLOWS") as workers:
        yield workers


def kill(workers: Workers, run: Run, *, at: str) -> None:
    """A worker that drives this run dies there, sooner or later: a server that is busy may put a step off first."""
    for _turn in range(10):
        if workers.fork(dies_at=at).wait() == KILLED:
            return
        Run.objects.filter(pk=run.pk, lease_until=None).update(run_at=LONG_AGO)
    run.refresh_from_db()
    raise AssertionError(f"nobody died at {at}: the run is {run.state} at {run.step}, {run.error}")


def part_of(points: list[str], part: int) -> list[str]:
    """Half of them, every step in either half, at one moment or the other: two tiers together have all."""
    return [point for number, point in enumerate(points) if (number // 2 + number) % 2 == part]


def slug(number: int) -> str:
    return f"acme-{number}"


def test_every_registered_workflow_is_killed_here() -> None:
    assert set(EXAMPLES) | ELSEWHERE == set(WORKFLOWS)


@pytest.mark.drawn(2)
@pytest.mark.parametrize(("workflow", "tier"), CASES, ids=[f"{workflow.name}-{tier}" for workflow, tier in CASES])
def test_a_kill_around_any_step_costs_only_time(stack: Stack, workers: Workers, workflow: Workflow, tier: Tier) -> None:
    begin, tiers = EXAMPLES[workflow.key]
    before = things(stack)
    steps = [step for step in workflow.steps if step.atomic or workflow.key not in THEIR_OWN]
    points = [f"{step.name}:{moment}" for step in steps for moment in AROUND_THE_EFFECT]
    if len(tiers) > 1:
        points = part_of(points, tiers.index(tier))
    for number, point in enumerate(points):
        kill(workers, begin(slug(number), tier), at=point)
    workers.drive_all()
    assert set(Run.objects.values_list("state", flat=True)) == {"succeeded"}
    tenants = list(Tenant.objects.all())
    ends = ENDS.get(workflow.key, TenantState.ACTIVE)
    assert {tenant.state for tenant in tenants} == {ends}
    found = {tenant.slug: inventory(stack, tenant) for tenant in tenants}
    doors = {"doors": 0} if ends != TenantState.ACTIVE else {}
    assert found == {tenant.slug: {**whole(tier), **doors} for tenant in tenants}
    shut = Resource.objects.filter(kind__in=DOORS).exclude(shut_at=None).count()
    assert shut == (len(DOORS) * len(tenants) if doors else 0)
    assert len(things(stack) - before) == number_of_things(tier) * len(tenants)  # no orphan
    assert Event.objects.filter(type="tenant.activated").count() == len(tenants)


UNDONE = [(Tier.SCHEMA, Tier.DATABASE), (Tier.POOL,)]


@pytest.mark.drawn(1)
@pytest.mark.parametrize("tiers", UNDONE, ids=["own tables", "pool"])
def test_a_kill_in_any_undo_leaves_nothing_behind(stack: Stack, workers: Workers, tiers: tuple[Tier, ...]) -> None:
    before = things(stack)
    undone = reversed([step.name for step in before_pivot(ONBOARD) if step.undo])
    points = [f"undo/{name}:{moment}" for name in undone for moment in AROUND_THE_EFFECT]
    points = part_of(points, UNDONE.index(tiers))
    for number, point in enumerate(points):
        run = accepted(slug(number), tiers[number % len(tiers)])
        kill(workers, run, at=f"verify:{Moment.STARTED}")
        run.refresh_from_db()
        lifecycle.cancel(run, reason="the order was withdrawn", actor=BILLING)
        Run.objects.filter(pk=run.pk).update(lease_until="2000-01-01T00:00Z")
        kill(workers, run, at=point)
    workers.drive_all()
    assert set(Run.objects.values_list("state", flat=True)) == {"cancelled"}
    assert set(Tenant.objects.values_list("state", flat=True)) == {TenantState.FAILED}
    assert {tenant.slug: inventory(stack, tenant) for tenant in Tenant.objects.all()} == {
        slug(number): NOTHING for number in range(len(points))
    }
    assert things(stack) == before


@pytest.mark.drawn(1)
@pytest.mark.parametrize("tier", Tier)
def test_a_kill_between_any_two_requests_to_a_server_costs_only_time(
    stack: Stack, workers: Workers, tier: Tier, tmp_path: Path
) -> None:
    accepted("first", tier)
    workers.drive_all()  # the first copy of a release on a cluster may ask more of it than the next
    accepted("counted", tier)
    requests = workers.calls_of(tmp_path / "calls")
    points = [
        f"{step}:inside:{number}:after"  # which is also before the next one
        for step in SERVERS_STEPS
        for number in range(1, requests[step] + 1)
    ]
    assert len(points) > MOST_POINTS
    seed = int(os.environ.get("TENURE_KILL_SEED", random.randrange(10**6)))
    print(f"TENURE_KILL_SEED={seed}")  # noqa: T201  to kill at the same points again; TENURE_KILL_POINTS=1000 takes all
    most = int(os.environ.get("TENURE_KILL_POINTS", MOST_POINTS))
    points = random.Random(seed).sample(points, min(most, len(points)))
    for number, point in enumerate(points):
        kill(workers, accepted(slug(number), tier), at=point)
    workers.drive_all()
    assert set(Run.objects.values_list("state", flat=True)) == {"succeeded"}
    assert all(inventory(stack, tenant) == whole(tier) for tenant in Tenant.objects.all())
