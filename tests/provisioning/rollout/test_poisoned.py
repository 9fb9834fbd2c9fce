"""Some targets cannot be taken along: they are named, untouched, and nobody else waits for them."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from provisioning import lifecycle
from provisioning.databases.servers import run
from provisioning.errors import ReasonMissing
from provisioning.models import Release, Rollout, RolloutTarget
from tenants.errors import StateConflict
from tenants.models import Event, Tenant
from tests.provisioning.rollout.building import (
    ALICE,
    PlainReplayer,
    applied,
    approved,
    columns,
    driven,
    inside,
    made,
    states,
)

pytestmark = pytest.mark.long

WAVES = [{"count": 5}, {"percent": 30}, {"percent": 100}]


def spoil_row(tenant: Tenant) -> None:
    """A row that the new constraint does not allow."""
    with inside(tenant) as connection:
        run(connection, "INSERT INTO project VALUES (2, '')")


def add_by_hand(tenant: Tenant) -> None:
    """The new column is there already, by somebody else's hand."""
    with inside(tenant) as connection:
        run(connection, "ALTER TABLE project ADD COLUMN size text")


@contextmanager
def read_and_forgotten(tenant: Tenant) -> Iterator[None]:
    """A reader's transaction that nobody ends."""
    with inside(tenant) as connection:
        run(connection, "BEGIN")
        run(connection, "SELECT name FROM project")
        yield
        run(connection, "ROLLBACK")


def mend(row: Tenant, column: Tenant) -> None:
    with inside(row) as connection:
        run(connection, "DELETE FROM project WHERE name = ''")
    with inside(column) as connection:
        run(connection, "ALTER TABLE project DROP COLUMN size")


def failures(rollout: Rollout) -> dict[str, RolloutTarget]:
    failed = rollout.targets.filter(state="failed").select_related("tenant")
    return {target.tenant.slug: target for target in failed if target.tenant is not None}


def test_three_poisoned_targets_stop_it_and_mended_they_arrive(release: Release, replayer: PlainReplayer) -> None:
    tenants = made(40)
    row, locked, column = tenants[3], tenants[20], tenants[33]
    spoil_row(row)
    add_by_hand(column)
    with read_and_forgotten(locked):
        rollout = driven(
            approved(release, canary=["t7-acme"], waves=WAVES, max_failures={"count": 2}, lock_timeout_ms=20)
        )
    assert (rollout.state, rollout.pause_reason) == ("paused", "error_budget")
    assert rollout.pause_detail == "3 targets failed; the budget is 2."
    failed = failures(rollout)
    assert {slug: (target.error or {})["class"] for slug, target in failed.items()} == {
        row.slug: "data error",
        locked.slug: "lock timeout",
        column.slug: "drift",
    }
    assert all({"code", "detail", "hint", "sqlstate"} <= {*(target.error or {})} for target in failed.values())
    assert failed[locked.slug].attempts == 5
    assert columns(row) == columns(locked) == ["id", "name"]
    assert [applied(tenant) for tenant in (row, locked, column)] == [0, 0, 0]
    assert {tenant.release for tenant in Tenant.objects.filter(slug__in=failed)} != {release.name}
    assert Tenant.objects.filter(release=release.name).count() == states(rollout)["succeeded"] >= 30
    told = Event.objects.filter(type="rollout.target_failed").values_list("tenant__slug", flat=True)
    assert sorted(told) == sorted(failed)

    mend(row, column)
    rollout = driven(lifecycle.retry_failed(rollout, actor=ALICE))
    assert (rollout.state, states(rollout)) == ("succeeded", {"succeeded": 40})
    assert [applied(tenant) for tenant in tenants] == [1] * 40
    calls = len(replayer.calls)
    assert states(driven(approved(release))) == {}
    assert len(replayer.calls) == calls


def test_a_canary_that_fails_stops_everything(release: Release, replayer: PlainReplayer) -> None:
    tenants = made(8)
    spoil_row(tenants[2])
    rollout = driven(approved(release, canary=["t2-acme"]))
    assert (rollout.state, rollout.wave, states(rollout)) == ("paused", 0, {"failed": 1, "waiting": 7})
    assert replayer.calls == [f"t_{tenants[2].pk.hex}"]


def test_going_on_after_a_breach_needs_a_reason_and_forgives(release: Release) -> None:
    tenants = made(8)
    for tenant in tenants[2:4]:
        spoil_row(tenant)
    rollout = driven(approved(release, waves=[{"count": 3}, {"percent": 100}], max_failures={"count": 0}))
    assert states(rollout) == {"failed": 1, "waiting": 5, "succeeded": 2}
    with pytest.raises(ReasonMissing):
        lifecycle.resume_rollout(rollout, actor=ALICE)
    rollout = driven(lifecycle.resume_rollout(rollout, actor=ALICE, reason="its owner was told"))
    assert (rollout.state, rollout.pause_reason) == ("paused", "error_budget")  # the next one costs again
    assert states(rollout)["failed"] == 2


def test_within_its_budget_it_goes_through_and_waits_for_a_word_on_the_rest(release: Release) -> None:
    tenants = made(8)
    spoil_row(tenants[1])
    rollout = driven(approved(release, max_failures={"count": 3}))
    assert (rollout.state, rollout.pause_reason, states(rollout)) == (
        "paused",
        "failures_left",
        {"failed": 1, "succeeded": 7},
    )
    with pytest.raises(StateConflict):
        lifecycle.resume_rollout(rollout, actor=ALICE, reason="never mind")
    failed = rollout.targets.get(state="failed")
    with pytest.raises(ReasonMissing):
        lifecycle.skip_target(failed, reason=" ", actor=ALICE)
    lifecycle.skip_target(failed, reason="leaves next week", actor=ALICE)
    rollout = driven(lifecycle.resume_rollout(rollout, actor=ALICE))
    assert (rollout.state, states(rollout)) == ("succeeded", {"skipped": 1, "succeeded": 7})
    assert Event.objects.filter(type="rollout.target_skipped").count() == 1


def test_a_failure_of_ours_stops_one_target_and_is_named_without_its_message(
    release: Release, replayer: PlainReplayer
) -> None:
    tenants = made(3)

    def stumble(target: RolloutTarget) -> None:
        if target.tenant_id == tenants[0].pk:
            raise ZeroDivisionError("acme's secret")

    replayer.before = stumble
    rollout = driven(approved(release, max_failures={"count": 1}))
    (group,) = lifecycle.progress_of(rollout).failures
    assert (group.budget_class, group.code, group.targets) == ("other", "UNFORESEEN", 1)
    error = failures(rollout)["t0-acme"].error or {}
    assert (error["class"], error["code"]) == ("other", "UNFORESEEN")
    assert "secret" not in str(error)
    assert states(rollout) == {"failed": 1, "succeeded": 2}


def test_who_is_not_what_was_recorded_stops_the_wave(release: Release, replayer: PlainReplayer) -> None:
    made(1)
    differences = iter(["project.size is missing"])
    replayer.look = lambda _schema: next(differences, "")
    rollout = driven(approved(release))
    assert (rollout.state, rollout.pause_reason) == ("paused", "verification")
    assert (failures(rollout)["t0-acme"].error or {})["difference"] == "project.size is missing"
    assert driven(lifecycle.retry_failed(rollout, actor=ALICE)).state == "succeeded"


def test_whom_the_register_has_elsewhere_stops_the_wave(release: Release, replayer: PlainReplayer) -> None:
    def meddle(_schema: str) -> str:
        Tenant.objects.filter(slug="t0-acme").update(release="another")
        return ""

    made(2)
    replayer.look = meddle
    rollout = driven(approved(release))
    assert (rollout.state, rollout.pause_reason) == ("paused", "verification")
    assert rollout.pause_detail == f"Recorded on another release than {release}: t0-acme."


def test_a_batch_stops_at_the_failure_that_is_one_too_many(release: Release, replayer: PlainReplayer) -> None:
    for tenant in made(5):
        spoil_row(tenant)
    rollout = driven(approved(release, max_failures={"count": 1}))
    assert (states(rollout), len(replayer.calls)) == ({"failed": 2, "waiting": 3}, 2)
