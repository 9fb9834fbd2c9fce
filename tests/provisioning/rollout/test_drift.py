from dataclasses import replace

import pytest

from provisioning import lifecycle
from provisioning.databases import drift as looking
from provisioning.databases.servers import sealed_url
from provisioning.errors import ReasonMissing
from provisioning.models import AdoptedDrift, KnownStamp, Release
from provisioning.models.stamps import known
from provisioning.rollout.adoption import NothingToAdopt, carry_over
from provisioning.rollout.drift import NoSuchTarget, Selection, State, accepted, stands, target_named, targets_of
from tenants.audit import AuditAction
from tenants.models import AuditEntry, Cluster, Pool
from tenants.states import Tier
from tests import fleet
from tests.fleet import BILLING, onboarded
from tests.provisioning.rollout.conftest import Change

pytestmark = pytest.mark.long

EXTRA = "ALTER TABLE {0}.projects_project ADD spare int"
SAID = ("unexpected column projects_project.spare integer",)


def states(selection: Selection | None = None) -> dict[str, State]:
    return {each.target.name: each.state for each in lifecycle.survey_drift(targets_of(selection or Selection()))}


def test_a_fleet_that_nobody_touched_has_no_drift(house: None) -> None:
    onboarded("acme", Tier.SCHEMA)
    onboarded("globex", Tier.DATABASE)
    onboarded("initech", Tier.POOL)
    assert states() == {"acme": State.AS_RELEASED, "globex": State.AS_RELEASED, "local-1/pool_1": State.AS_RELEASED}


@pytest.mark.parametrize("tier", [Tier.SCHEMA, Tier.DATABASE])
def test_a_column_that_somebody_added_is_found_and_named(change: Change, tier: Tier) -> None:
    onboarded("acme", tier)
    onboarded("globex", tier)
    change("acme", EXTRA)
    assert states(Selection(tiers=(tier,))) == {"acme": State.DRIFTED, "globex": State.AS_RELEASED}
    assert stands(target_named("acme")).lines == SAID


def test_a_pool_is_one_target_and_found_by_its_tenants_slug(own_pool: Pool, change: Change) -> None:
    onboarded("acme", Tier.POOL)
    onboarded("globex", Tier.POOL)
    name = f"local-1/{own_pool.schema}"
    change("acme", "DROP POLICY tenure ON {0}.projects_project")
    assert states(Selection(names=("acme", "globex"))) == {name: State.DRIFTED}
    assert stands(target_named(name)).lines[0].startswith("missing policy projects_project.tenure")


def test_a_schema_that_is_gone_is_drift(change: Change) -> None:
    onboarded("acme")
    change("acme", "DROP SCHEMA {0} CASCADE")
    assert stands(target_named("acme")).lines == ("The schema is not there.",)


def test_a_server_that_is_away_is_told_and_the_others_are_looked_at(house: None) -> None:
    onboarded("acme")
    onboarded("globex")
    target = target_named("acme")
    gone = Cluster(name="gone", region="local", capacity=1, database=target.database, public_host="127.0.0.1")
    gone.sealed_url = sealed_url("postgresql://tenure@127.0.0.1:1/nothing", gone)  # nobody listens on port 1
    gone.save()
    far = [replace(target, name=f"far-{n}", cluster=gone) for n in range(3)]
    found = list(lifecycle.survey_drift([*far, target_named("globex")]))
    assert [each.state for each in found] == [State.AWAY] * 3 + [State.AS_RELEASED]
    assert "gone" in found[0].said


def test_a_database_that_is_away_is_told_and_the_others_are_looked_at(change: Change) -> None:
    onboarded("acme", Tier.DATABASE)
    onboarded("globex", Tier.DATABASE)
    target = replace(target_named("acme"), database="t_gone")
    found = list(lifecycle.survey_drift([target, target_named("globex")]))
    assert [each.state for each in found] == [State.AWAY, State.AS_RELEASED]


@pytest.mark.parametrize("name", ["nobody", "local-1/pool_99", "x" * 300])
def test_a_name_that_leads_to_no_target_is_refused(house: None, name: str) -> None:
    with pytest.raises(NoSuchTarget):
        targets_of(Selection(names=(name,)))


def test_a_tenant_that_is_still_being_made_is_no_target(house: None) -> None:
    fleet.accepted("acme")
    assert "acme" not in states()


class TestKnownStamps:
    def test_a_stamp_is_learned_once_and_the_fingerprint_is_not_asked_again(
        self, house: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        onboarded("acme")
        onboarded("globex")
        release = Release.objects.get(current=True)
        seen = stands(target_named("acme")).stamp
        assert known(release, pooled=False) == {seen}
        assert known(release, pooled=True) == frozenset()
        monkeypatch.setattr(looking, "shape", None)  # calling it would be an error
        assert stands(target_named("globex")).state == State.AS_RELEASED

    def test_a_shape_with_other_column_numbers_is_learned_beside_the_first(self, change: Change) -> None:
        onboarded("acme")
        onboarded("globex")
        change(
            "acme",
            "ALTER TABLE {0}.projects_document DROP title, ADD title varchar(255) NOT NULL DEFAULT '';"
            "ALTER TABLE {0}.projects_document ALTER title DROP DEFAULT",
        )
        first, second = (stands(target_named(name)) for name in ("acme", "globex"))
        assert (first.lines, second.lines) == ((), ())
        assert known(Release.objects.get(current=True), pooled=False) == {first.stamp, second.stamp}
        assert first.stamp != second.stamp

    def test_drift_teaches_nothing(self, change: Change) -> None:
        onboarded("acme")
        change("acme", EXTRA)
        before = KnownStamp.objects.count()
        stands(target_named("acme"))
        assert KnownStamp.objects.count() == before


class TestAdopting:
    def test_what_was_accepted_is_no_drift_any_more(self, change: Change) -> None:
        acme = onboarded("acme")
        target = change("acme", EXTRA)
        row = lifecycle.adopt_drift(target=target, reason="their report needs it", actor=BILLING)
        assert (row.lines, row.reason, row.actor, row.release) == (
            list(SAID), "their report needs it", str(BILLING), target.release
        )  # fmt: skip
        assert row.stamp == stands(target).stamp
        assert stands(target).state == State.ADOPTED
        said = AuditEntry.objects.filter(chain=acme.audit_chain).latest("seq").public
        assert (said["action"], said["counts"]) == (AuditAction.DRIFT_ADOPTED, {"findings": 1})

    def test_anything_more_is_drift_again(self, change: Change) -> None:
        onboarded("acme")
        target = change("acme", EXTRA)
        lifecycle.adopt_drift(target=target, reason="theirs", actor=BILLING)
        change("acme", "ALTER TABLE {0}.projects_project ADD more int")
        assert stands(target).state == State.DRIFTED
        lifecycle.adopt_drift(target=target, reason="theirs, too", actor=BILLING)
        assert stands(target).state == State.ADOPTED
        assert AdoptedDrift.objects.filter(ended_at=None).count() == 1

    def test_it_is_carried_to_another_release(self, change: Change) -> None:
        onboarded("acme")
        target = change("acme", EXTRA)
        row = lifecycle.adopt_drift(target=target, reason="theirs", actor=BILLING)
        carry_over(row, release="next", stamp="0" * 64)
        row.refresh_from_db()
        assert (row.release, row.stamp) == ("next", "0" * 64)
        assert (accepted(row, SAID), accepted(row, (*SAID, "more")), accepted(None, SAID)) == (True, False, False)

    def test_a_pool_may_be_accepted_too(self, own_pool: Pool, change: Change) -> None:
        target = change(f"local-1/{own_pool.schema}", "CREATE INDEX mine ON {0}.projects_project (name)")
        lifecycle.adopt_drift(target=target, reason="a slow page", actor=BILLING)
        assert stands(target).state == State.ADOPTED

    def test_without_drift_or_reason_nothing_is_accepted(self, change: Change) -> None:
        onboarded("acme")
        with pytest.raises(NothingToAdopt):
            lifecycle.adopt_drift(target=target_named("acme"), reason="why not", actor=BILLING)
        target = change("acme", EXTRA)
        with pytest.raises(ReasonMissing):
            lifecycle.adopt_drift(target=target, reason=" ", actor=BILLING)
        assert not AdoptedDrift.objects.exists()
