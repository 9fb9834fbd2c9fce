"""A rollout from its approval to its end, over a real control database and real schemas."""

from provisioning import lifecycle
from provisioning.models import Release
from tenants.models import Event, Tenant
from tests.provisioning.rollout.building import (
    ALICE,
    PlainReplayer,
    applied,
    approved,
    columns,
    driven,
    made,
    states,
)


def test_canaries_go_first_and_then_wave_after_wave(release: Release, replayer: PlainReplayer) -> None:
    tenants = made(12)
    rollout = approved(release, canary=["t5-acme"], waves=[{"count": 3}, {"percent": 50}, {"percent": 100}])
    rollout = driven(rollout)
    assert (rollout.state, rollout.wave, states(rollout)) == ("succeeded", 3, {"succeeded": 12})
    waves = list(rollout.targets.order_by("finished_at", "position").values_list("wave", flat=True))
    assert waves == sorted(waves) == [0] + [1] * 3 + [2] * 2 + [3] * 6
    assert replayer.calls[0] == f"t_{tenants[5].pk.hex}"
    assert set(Tenant.objects.values_list("release", flat=True)) == {release.name}
    assert [applied(tenant) for tenant in tenants] == [1] * 12
    progress = lifecycle.progress_of(rollout)
    assert [(wave.number, wave.succeeded) for wave in progress.waves] == [(0, 1), (1, 3), (2, 2), (3, 6)]
    assert (progress.total.total, progress.total.late, progress.failures) == (12, 0, ())
    told = Event.objects.filter(tenant=None).order_by("id").values_list("type", flat=True)
    assert list(told) == ["rollout.approved", *["rollout.wave_completed"] * 4, "rollout.succeeded"]


def test_a_second_rollout_of_the_same_release_does_nothing(release: Release, replayer: PlainReplayer) -> None:
    made(4)
    driven(approved(release))
    before = list(replayer.calls)
    again = driven(approved(release))
    assert (again.state, states(again), replayer.calls) == ("succeeded", {}, before)
    assert again.plan["there"] == 4


def test_a_paused_rollout_takes_no_target_and_a_resumed_one_finishes(release: Release, replayer: PlainReplayer) -> None:
    made(6)
    rollout = approved(release)
    lifecycle.pause_rollout(rollout, actor=ALICE)
    assert (driven(rollout).state, replayer.calls) == ("paused", [])
    lifecycle.resume_rollout(rollout, actor=ALICE)
    assert (driven(rollout).state, len(replayer.calls)) == ("succeeded", 6)


def test_a_cancelled_rollout_leaves_the_rest_where_it_is(release: Release, replayer: PlainReplayer) -> None:
    tenants = made(6)
    rollout = approved(release)
    lifecycle.cancel_rollout(rollout, reason="not today", actor=ALICE)
    assert (driven(rollout).state, states(rollout)) == ("cancelled", {"skipped": 6})
    assert [columns(tenant) for tenant in tenants] == [["id", "name"]] * 6
    assert driven(approved(release)).state == "succeeded"  # nobody holds them any more
