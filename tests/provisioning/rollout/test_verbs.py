from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from provisioning import lifecycle
from provisioning.errors import KeyReused
from provisioning.models import Queue, Release, ReleasePath, Rollout, Run
from provisioning.rollout.selection import chosen
from tenants.actions import AuditAction
from tenants.errors import StateConflict
from tenants.models import AuditEntry, Pool, Tenant
from tests.crashes.harness import LONG_AGO
from tests.fleet import BILLING, accepted
from tests.provisioning.rollout.building import (
    ALICE,
    BOB,
    PlainReplayer,
    approved,
    current,
    driven,
    made,
    next_release,
    proposed,
    record_path,
    states,
)

pytestmark = pytest.mark.long


class TestProposing:
    def test_a_plan_says_what_each_wave_and_migration_does(self, release: Release) -> None:
        made(10, schemas=False)
        accepted("half-made")
        rollout = proposed(release, waves=[{"count": 3}, {"percent": 100}])
        plan = lifecycle.plan_of(rollout)
        assert [(wave.number, dict(wave.targets)) for wave in plan.waves] == [(1, {"schema": 3}), (2, {"schema": 7})]
        (path,) = plan.paths
        (migration,) = path.migrations
        assert (path.source, path.targets, migration.migration) == (current().name, 10, "projects.0005_size")
        assert len(migration.statements) == 2
        left_out = [(left.name, left.cause) for left in plan.left_out]
        assert left_out == [
            ("half-made", "The tenant is provisioning."),
            ("pool_1 on local-1", "The pool is not laid out yet."),
        ]
        assert (rollout.state, rollout.plan["digest"], rollout.targets.count()) == ("draft", plan.digest, 0)

    def test_the_same_key_proposes_once(self, release: Release) -> None:
        terms, key = lifecycle.RolloutTerms(waves=[{"percent": 100}]), str(uuid4())
        one = lifecycle.propose_rollout(release=release, terms=terms, actor=BILLING, key=key)
        assert lifecycle.propose_rollout(release=release, terms=terms, actor=BILLING, key=key).pk == one.pk
        other = lifecycle.RolloutTerms(parallelism=3)
        with pytest.raises(KeyReused):
            lifecycle.propose_rollout(release=release, terms=other, actor=BILLING, key=key)

    @pytest.mark.parametrize(
        "terms",
        [
            {"waves": [{"count": 5}]},
            {"parallelism": 0},
            {"lock_timeout_ms": 0},
            {"canary": ["nobody"]},
            {"selection": {"weather": ["fine"]}},
            {"selection": {"slugs": "t0-acme"}},
            {"max_failures": {"count": -1}},
            {"window": {"days": ["someday"], "from": "22:00", "to": "04:00"}},
        ],
    )
    def test_what_makes_no_sense_is_refused(self, release: Release, terms: dict[str, Any]) -> None:
        with pytest.raises(lifecycle.InvalidRollout) as refused:
            proposed(release, **terms)
        assert str(refused.value.metadata["field"]).startswith(next(iter(terms)))
        assert not Rollout.objects.exists()


class TestApproving:
    def test_who_proposed_does_not_approve(self, release: Release, settings: Any) -> None:
        made(1, schemas=False)
        rollout = proposed(release)
        with pytest.raises(lifecycle.SamePerson):
            lifecycle.approve_rollout(rollout, digest=rollout.plan_digest, actor=BILLING)
        settings.TENURE_SINGLE_OPERATOR = True
        rollout = lifecycle.approve_rollout(rollout, digest=rollout.plan_digest, actor=BILLING)
        assert (rollout.state, rollout.single_operator) == ("running", True)

    def test_another_fleet_is_another_plan(self, release: Release) -> None:
        made(2, schemas=False)
        rollout = proposed(release)
        former = rollout.plan_digest
        made(1, first=10, schemas=False)
        with pytest.raises(lifecycle.PlanChanged):
            lifecycle.approve_rollout(rollout, digest=former, actor=ALICE)
        fresh = lifecycle.plan_of(rollout)
        assert fresh.digest == rollout.plan_digest != former
        rollout = lifecycle.approve_rollout(rollout, digest=fresh.digest, actor=ALICE)
        assert rollout.targets.count() == 3

    def test_approving_twice_starts_one_run(self, release: Release) -> None:
        made(2, schemas=False)
        rollout = proposed(release)
        for _turn in range(2):
            lifecycle.approve_rollout(rollout, digest=rollout.plan_digest, actor=ALICE)
        assert Run.objects.filter(workflow="rollout").count() == 1
        with pytest.raises(StateConflict):
            lifecycle.approve_rollout(rollout, digest=rollout.plan_digest, actor=BOB)

    def test_a_path_that_cannot_be_walked_blocks(self, release: Release) -> None:
        made(1, schemas=False)
        refusal = {"statement": "", "reason": "projects.0005 cannot be reversed.", "instead": "Write its reverse."}
        ReleasePath.objects.update(refusals=[refusal])
        rollout = proposed(release)
        with pytest.raises(lifecycle.RolloutRefused, match="cannot be reversed"):
            lifecycle.approve_rollout(rollout, digest=rollout.plan_digest, actor=ALICE)
        assert rollout.targets.count() == 0

    def test_a_release_that_nobody_can_come_from_blocks(self, release: Release) -> None:
        made(1, schemas=False, release=release.name)
        rollout = proposed(current())
        with pytest.raises(lifecycle.RolloutRefused, match="Nobody has recorded"):
            lifecycle.approve_rollout(rollout, digest=rollout.plan_digest, actor=ALICE)

    def test_a_contracting_release_waits_for_whoever_is_older_than_its_expand(self, release: Release) -> None:
        (behind,) = made(1)
        ahead = made(1, first=5, release=release.name)
        contract = next_release("contract", contracts=release.name)
        record_path(release, contract)
        rollout = proposed(contract, selection={"slugs": [ahead[0].slug]})
        with pytest.raises(lifecycle.OlderStillRuns) as refused:
            lifecycle.approve_rollout(rollout, digest=rollout.plan_digest, actor=ALICE)
        assert refused.value.metadata["running"] == [f"{behind.slug} ({current().name})"]
        assert driven(approved(release)).state == "succeeded"
        lifecycle.plan_of(rollout)
        lifecycle.approve_rollout(rollout, digest=rollout.plan_digest, actor=ALICE)

    def test_two_rollouts_never_share_a_target(self, release: Release) -> None:
        made(3, schemas=False)
        first = approved(release)
        second = proposed(release, selection={"slugs": ["t1-acme"]})
        with pytest.raises(lifecycle.TargetsTaken) as refused:
            lifecycle.approve_rollout(second, digest=second.plan_digest, actor=ALICE)
        assert refused.value.metadata["rollout"] == first.public_id
        second.refresh_from_db()
        assert second.state == "draft"

    def test_each_act_is_audited(self, release: Release, replayer: PlainReplayer) -> None:
        made(2)
        rollout = approved(release)
        lifecycle.pause_rollout(rollout, actor=ALICE)
        lifecycle.resume_rollout(rollout, actor=ALICE)
        lifecycle.retry_failed(rollout, actor=ALICE)
        driven(rollout)
        entries = AuditEntry.objects.filter(public__object_type="rollout").order_by("seq")
        assert list(entries.values_list("public__action", flat=True)) == [
            AuditAction.ROLLOUT_PROPOSED,
            AuditAction.ROLLOUT_APPROVED,
            AuditAction.ROLLOUT_PAUSED,
            AuditAction.ROLLOUT_RESUMED,
            AuditAction.ROLLOUT_RETRIED,
            AuditAction.ROLLOUT_SUCCEEDED,
        ]


class TestWaiting:
    def test_it_waits_for_its_window_and_says_so(self, release: Release, replayer: PlainReplayer) -> None:
        made(2)
        rollout = approved(release, starts_at=timezone.now() + timedelta(hours=3))
        lifecycle.advance(queue=Queue.FLEET)
        rollout.refresh_from_db()
        assert rollout.run is not None
        assert rollout.run.steps.get(name="run the waves").note.startswith("Waits until ")
        assert (rollout.run.children.count(), replayer.calls) == (0, [])
        Rollout.objects.filter(pk=rollout.pk).update(starts_at=LONG_AGO)
        assert driven(rollout).state == "succeeded"

    def test_a_running_rollout_without_a_run_gets_one(self, release: Release, replayer: PlainReplayer) -> None:
        made(2)
        rollout = approved(release)
        lifecycle.pause_rollout(rollout, actor=ALICE)
        driven(rollout)
        Rollout.objects.filter(pk=rollout.pk).update(state="running", pause_reason="", pause_detail="")
        lifecycle.sweep()
        assert (driven(rollout).state, states(rollout)) == ("succeeded", {"succeeded": 2})


class TestSelecting:
    @pytest.mark.parametrize(
        ("selection", "names"),
        [
            ({}, ["pool_1 on local-1", "t0-acme", "t1-acme"]),
            ({"slugs": ["t1-acme"]}, ["t1-acme"]),
            ({"tier": ["schema"]}, ["t0-acme", "t1-acme"]),
            ({"tier": ["pool"]}, ["pool_1 on local-1"]),
            ({"tier": ["database"]}, []),
            ({"plan": ["standard"]}, ["t0-acme", "t1-acme"]),
            ({"plan": ["dedicated"]}, []),
            ({"labels": {"team": "north"}}, ["t0-acme"]),
            ({"region": ["local"]}, ["pool_1 on local-1", "t0-acme", "t1-acme"]),
            ({"region": ["elsewhere"]}, []),
            ({"cluster": ["local-1"], "tier": ["schema"]}, ["t0-acme", "t1-acme"]),
        ],
    )
    def test_a_selection_is_all_it_names(self, release: Release, selection: dict[str, Any], names: list[str]) -> None:
        made(2, schemas=False)
        Pool.objects.update(ready_at=LONG_AGO)
        Tenant.objects.filter(slug="t0-acme").update(labels={"team": "north", "size": "s"})
        fleet = chosen(selection, release=release.name)
        assert sorted(target.name for target in fleet.targets) == names
