"""Lanes share targets and never take the same; whoever dies leaves nothing that another cannot finish."""

from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from provisioning import lifecycle
from provisioning.engine.workflow import StepContext
from provisioning.models import Queue, Release, Rollout, RolloutTarget, Run
from provisioning.rollout.bringing import place_of
from provisioning.rollout.claiming import claim, path_of
from provisioning.rollout.lanes import LANE, rollout_of
from provisioning.rollout.recording import arrived, failed, given_back, record
from tenants.models import Cluster, Placement, Plan, Pool, Tenant
from tenants.states import TenantState, Tier
from tests.crashes.harness import LONG_AGO
from tests.fleet import accepted
from tests.provisioning.rollout.building import (
    PlainReplayer,
    RowsOnly,
    applied,
    approved,
    driven,
    made,
    replaying,
    states,
    time_passes,
)

pytestmark = pytest.mark.long


def lanes_of(rollout: Rollout) -> list[StepContext]:
    """Two lanes of the rollout, each with a claim of its own that holds."""
    driven_once = rollout.run
    assert driven_once is not None
    lanes = []
    for number in range(2):
        lane = Run.objects.create(
            workflow=LANE.name,
            version=LANE.version,
            queue=Queue.FLEET,
            parent=driven_once,
            fair_key="x",
            input={"rollout_id": str(rollout.pk), "cluster_id": str(Cluster.objects.get().pk), "number": number},
            step=LANE.steps[0].name,
            state="running",
            fence=90_000 + number,
            owner=f"host:{number}",
            lease_until="2100-01-01T00:00Z",
            deadline_at="2100-01-01T00:00Z",
            actor="user:1",
            key=str(uuid4()),
        )
        row = lane.steps.create(position=0, name=lane.step)
        lanes.append(StepContext(run=lane, row=row, input=LANE.load(lane.input)))
    return lanes


def taken(ctx: StepContext, rollout: Rollout, limit: int = 50, **more: int) -> list[RolloutTarget]:
    with ctx.control():
        return claim(ctx, rollout_of(rollout.pk), ctx.input.cluster_id, limit=limit, **more)


def reach(rollout: Rollout, wave: int = 1) -> None:
    Rollout.objects.filter(pk=rollout.pk).update(wave=wave)


def test_two_lanes_never_take_one_target(release: Release) -> None:
    made(10, schemas=False)
    rollout = approved(release)
    reach(rollout)
    one, other = lanes_of(rollout)
    first, second, third = taken(one, rollout, 4), taken(other, rollout, 4), taken(one, rollout, 4)
    assert [target.position for target in (*first, *second, *third)] == list(range(10))
    assert taken(other, rollout) == []


def test_a_claim_has_read_what_a_replay_wants_to_know(release: Release) -> None:
    made(3, schemas=False)
    one, _other = lanes_of(rollout := approved(release))
    reach(rollout)
    targets = taken(one, rollout)
    assert len(targets) == 3
    with CaptureQueriesContext(connection) as queries:
        for target in targets:
            assert target.place is not None
            assert place_of(target).schema == target.place.schema
            assert (target.lane_id, target.fence, target.path_id) == (one.run_id, one.fence, targets[0].path_id)
            assert failed(target, ValueError(str(target)), 0.1).attempts == 1
            assert given_back(target).target is target
    assert list(queries) == []


def test_lanes_share_what_is_left_of_a_wave(release: Release) -> None:
    made(30, schemas=False)
    rollout = approved(release)
    reach(rollout)
    one, other = lanes_of(rollout)
    sizes = [len(taken(lane, rollout, 20, least=4)) for lane in (one, other, one, other, one, other)]
    assert sizes == [15, 8, 4, 3, 0, 0]


def test_nothing_of_a_later_wave_is_taken(release: Release) -> None:
    made(10, schemas=False)
    rollout = approved(release, waves=[{"count": 3}, {"percent": 100}])
    reach(rollout)
    one, other = lanes_of(rollout)
    assert (len(taken(one, rollout)), len(taken(other, rollout))) == (3, 0)


def test_a_dead_lanes_targets_are_finished_by_another(release: Release, replayer: PlainReplayer) -> None:
    tenants = made(6)
    rollout = approved(release)
    reach(rollout)
    dead, other = lanes_of(rollout)
    began = taken(dead, rollout, 4)
    replayer.replay(began[0], path_of(began[0]))  # it arrived, and nobody wrote it down
    assert len(taken(other, rollout)) == 2
    Run.objects.filter(pk=dead.run_id).update(lease_until=LONG_AGO)
    assert [target.pk for target in taken(other, rollout)] == [target.pk for target in began]
    Run.objects.filter(parent=rollout.run).update(
        lease_until=None, owner="", state="cancelled", finished_at=LONG_AGO, deadline_at=None, fence=None
    )
    rollout = driven(rollout)
    assert (rollout.state, states(rollout)) == ("succeeded", {"succeeded": 6})
    assert [applied(tenant) for tenant in tenants] == [1] * 6


def test_a_lane_that_was_overtaken_records_nothing(release: Release) -> None:
    made(2, schemas=False)
    rollout = approved(release)
    reach(rollout)
    late, other = lanes_of(rollout)
    began = taken(late, rollout)
    Run.objects.filter(pk=late.run_id).update(lease_until=LONG_AGO)
    assert len(taken(other, rollout)) == 2
    with late.control():
        record(late, rollout_of(rollout.pk), [arrived(target, 0.1) for target in began])
    assert states(rollout) == {"running": 2}


def test_a_target_waits_for_the_operation_on_its_tenant(release: Release, replayer: PlainReplayer) -> None:
    tenants = made(3)
    operation = accepted("other")
    Run.objects.filter(pk=operation.pk).update(tenant=tenants[1], lock_key=f"tenant:{tenants[1].pk}", state="paused")
    rollout = approved(release)
    for _turn in range(5):
        lifecycle.advance(queue=Queue.FLEET)
        time_passes()
    blocked = rollout.targets.get(tenant=tenants[1])
    assert (blocked.state, blocked.blocked_by) == ("waiting", operation.pk)
    assert states(rollout) == {"waiting": 1, "succeeded": 2}
    Run.objects.filter(pk=operation.pk).update(state="cancelled", finished_at=LONG_AGO, deadline_at=None)
    rollout = driven(rollout)
    assert (rollout.state, applied(tenants[1])) == ("succeeded", 1)


def test_late_targets_join_the_last_wave(release: Release, replayer: PlainReplayer) -> None:
    made(4)
    rollout = approved(release, waves=[{"count": 2}, {"percent": 100}])
    (late,) = made(1, first=10)
    rollout = driven(rollout)
    target = rollout.targets.get(late=True)
    assert (target.tenant, target.wave, target.state) == (late, 2, "succeeded")
    assert (rollout.state, applied(late), rollout.targets.count()) == ("succeeded", 1, 5)


def test_a_tenant_born_on_the_release_is_no_target(release: Release, replayer: PlainReplayer) -> None:
    made(2)
    rollout = approved(release)
    made(1, first=10, release=release.name)
    rollout = driven(rollout)
    assert (rollout.state, rollout.targets.count()) == ("succeeded", 2)


def test_a_pool_is_one_target_and_all_its_tenants_are_on_the_release(release: Release) -> None:
    Pool.objects.update(ready_at="2026-01-01T00:00Z", placed=3)
    pool, plan = Pool.objects.get(), Plan.objects.get(name="pool")
    for number in range(3):
        tenant = Tenant.objects.create(
            slug=f"p{number}-acme",
            name="A",
            principal="b",
            plan=plan,
            region="local",
            release=pool.release,
            state=TenantState.ACTIVE,
        )
        Placement.objects.create(
            tenant=tenant, tier=Tier.POOL, pool=pool, cluster=pool.cluster, database="d", schema=pool.schema
        )
    with replaying(RowsOnly()):
        rollout = driven(approved(release, canary=["p1-acme"]))
    assert (rollout.state, rollout.targets.get().pool, rollout.targets.get().wave) == ("succeeded", pool, 0)
    assert set(Tenant.objects.values_list("release", flat=True)) == {release.name}
    pool.refresh_from_db()
    assert pool.release == release.name


def test_a_pool_waits_for_who_is_moving_in_and_who_comes_later_waits_for_it(release: Release) -> None:
    Pool.objects.update(ready_at="2026-01-01T00:00Z")
    first = accepted("first", Tier.POOL)
    with replaying(RowsOnly()):
        rollout = approved(release)
        for _turn in range(4):
            lifecycle.advance(queue=Queue.FLEET)
            time_passes()
        target = rollout.targets.get()
        assert (target.state, target.blocked_by) == ("waiting", first.pk)
        second = accepted("second", Tier.POOL)
        hold(first)
        lifecycle.advance(queue=Queue.OPERATIONS)
        second.refresh_from_db()
        assert (second.step, second.state) == ("reserve placement", "running")
        assert rollout.public_id in second.steps.get(name="reserve placement").note
        Run.objects.filter(pk=first.pk).update(run_at=LONG_AGO)
        hold(second)
        lifecycle.advance(queue=Queue.OPERATIONS)
        first.refresh_from_db()
        assert first.state == "succeeded", first.error
        assert driven(rollout).state == "succeeded"
        assert pool_release() == release.name
        second.refresh_from_db()
        assert second.state == "running"


def hold(run: Run) -> None:
    """Nobody drives it for now."""
    Run.objects.filter(pk=run.pk).update(run_at="2100-01-01T00:00Z")


def pool_release() -> str:
    return Pool.objects.get().release


@pytest.mark.parametrize("targets", [200, 2_000])
def test_a_batch_costs_as_many_statements_however_large_the_rollout(release: Release, targets: int) -> None:
    made(targets, schemas=False)
    rollout = approved(release)
    reach(rollout)
    lane, _other = lanes_of(rollout)
    with CaptureQueriesContext(connection) as claiming:
        batch = taken(lane, rollout)
    with CaptureQueriesContext(connection) as recording, lane.control():
        record(lane, rollout_of(rollout.pk), [arrived(target, 0.1) for target in batch])
    assert len(batch) == 50
    assert (len(claiming), len(recording)) == (10, 6)
    assert states(rollout) == {"waiting": targets - 50, "succeeded": 50}
