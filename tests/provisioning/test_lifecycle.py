"""The verbs, below every door."""

import threading
from collections.abc import Callable
from uuid import uuid4

import psycopg
import pytest
from django.db import connection
from psycopg import sql

from provisioning import lifecycle
from provisioning.databases import tiers
from provisioning.errors import Permanent
from provisioning.models import Release, Resource, ResourceKind, Run, RunState
from provisioning.providers import Bucket
from tenants.models import Cluster, Placement, Plan, Tenant
from tenants.states import TenantState, Tier
from tests.fleet import BILLING, accepted, driven, onboarded, wish

pytestmark = pytest.mark.long


def in_threads(count: int, act: Callable[[], object]) -> list[object]:
    """What `count` threads, started together, each got or raised."""
    answers: list[object] = []
    gate = threading.Barrier(count)

    def body() -> None:
        gate.wait()
        try:
            answers.append(act())
        except Exception as error:  # noqa: BLE001  what a thread raised is its answer
            answers.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=body) for _number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_the_same_request_twenty_times_at_once_makes_one_tenant(house: None) -> None:
    answers = in_threads(20, lambda: lifecycle.onboard(wish=wish("acme"), actor=BILLING, key="order-1").pk)
    assert len(set(answers)) == 1, answers
    assert (Tenant.objects.count(), Run.objects.count(), Placement.objects.count()) == (1, 1, 1)


def test_the_same_key_for_another_tenant_is_refused(house: None) -> None:
    lifecycle.onboard(wish=wish("acme"), actor=BILLING, key="order-1")
    with pytest.raises(lifecycle.KeyReused):
        lifecycle.onboard(wish=wish("globex"), actor=BILLING, key="order-1")
    with pytest.raises(lifecycle.KeyReused):
        lifecycle.onboard(wish=wish("acme", name="Acme GmbH"), actor=BILLING, key="order-1")


def test_a_second_tenant_of_the_same_slug_is_refused_and_named_to_its_owner_only(house: None) -> None:
    acme = accepted("acme").tenant
    assert acme is not None
    with pytest.raises(lifecycle.TenantExists) as told:
        lifecycle.onboard(wish=wish("acme"), actor=BILLING, key="order-2")
    assert told.value.metadata == {"tenant": acme.public_id}
    with pytest.raises(lifecycle.TenantExists) as untold:
        lifecycle.onboard(wish=wish("acme", principal="another"), actor=BILLING, key="order-3")
    assert untold.value.metadata == {}


@pytest.mark.parametrize(
    "slug",
    ["a", "Acme", "acme'; DROP TABLE x; --", "\u0430cme", "admin", "x" * 300, "acme-", "1acme", "acme\x00", "xn--acme"],
)
def test_a_bad_slug_is_refused_with_its_cure_and_nothing_is_written(house: None, slug: str) -> None:
    with pytest.raises(lifecycle.InvalidWish) as refused:
        lifecycle.onboard(wish=wish(slug, name="Acme"), actor=BILLING, key="order-1")
    assert [error.field for error in refused.value.errors] == ["slug"]
    assert (Tenant.objects.count(), Run.objects.count()) == (0, 0)


def test_an_unknown_plan_and_region_are_named_together(house: None) -> None:
    with pytest.raises(lifecycle.InvalidWish) as refused:
        lifecycle.onboard(wish=wish("acme", plan="gold", region="mars"), actor=BILLING, key="order-1")
    assert {error.code for error in refused.value.errors} == {"UNKNOWN_PLAN", "UNKNOWN_REGION"}


def test_a_full_cluster_accepts_nobody_and_says_why(house: None) -> None:
    Cluster.objects.update(capacity=1)
    accepted("acme")
    with pytest.raises(lifecycle.NoCapacity, match=r"local-1 is full \(1 of 1\)"):
        lifecycle.onboard(wish=wish("globex"), actor=BILLING, key="order-2")
    assert not Tenant.objects.filter(slug="globex").exists()


def test_a_plan_of_onboarding_shows_the_steps_that_run_and_writes_nothing(house: None) -> None:
    plan = lifecycle.plan_onboard(wish=wish("acme"))
    assert (plan.blockers, Tenant.objects.count()) == ((), 0)
    run = driven(lifecycle.onboard(wish=wish("acme"), actor=BILLING, key="order-1", plan_digest=plan.digest))
    assert tuple(run.steps.order_by("position").values_list("name", flat=True)) == plan.steps
    with pytest.raises(lifecycle.PlanChanged):
        lifecycle.onboard(wish=wish("globex"), actor=BILLING, key="order-2", plan_digest=plan.digest)


def test_an_onboarding_that_cannot_succeed_leaves_only_the_row_and_can_be_retried(
    house: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise Permanent("The object store says no.")

    with monkeypatch.context() as broken:
        broken.setattr(Bucket, "provision", refuse)
        run = driven(accepted("acme"))
    acme = Tenant.objects.get(slug="acme")
    assert (run.state, acme.state) == (RunState.FAILED, TenantState.FAILED)
    assert run.error is not None
    assert "says no" in run.error["detail"]
    assert not acme.placements.filter(active=True).exists()
    assert set(acme.resources.exclude(kind="cache").values_list("state", flat=True)) <= {"removed", "planned"}

    again = driven(lifecycle.retry_onboarding(tenant=acme, reason="store is back", actor=BILLING, key="order-2"))
    assert again.state == RunState.SUCCEEDED, again.error
    assert Tenant.objects.get(slug="acme").state == TenantState.ACTIVE


def test_an_onboarding_refused_by_its_first_step_gives_its_place_back(house: None) -> None:
    run = accepted("acme")
    Release.objects.update(current=False)
    assert driven(run).state == RunState.FAILED
    assert not Placement.objects.filter(active=True).exists()


def test_credentials_open_the_own_database_and_bucket_and_nobody_elses(house: None) -> None:
    acme, globex = onboarded("acme", Tier.SCHEMA), onboarded("globex", Tier.DATABASE)
    ours = lifecycle.hand_out_credentials(tenant=acme, actor=BILLING)
    theirs = lifecycle.hand_out_credentials(tenant=globex, actor=BILLING)
    assert ours.database.password not in repr(ours)
    with psycopg.connect(ours.database.url) as session:
        tables = session.execute("SELECT count(*) FROM projects_project").fetchone()
        assert tables == (0,)
    with psycopg.connect(theirs.database.url) as session:
        assert session.execute("SELECT current_user").fetchone() == (globex.context().key,)
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(f"{ours.database.url} dbname={theirs.database.name}")
    storage = ours.storage.client()
    storage.put_object(Bucket=ours.storage.bucket, Key="a", Body=b"1")
    with pytest.raises(storage.exceptions.ClientError, match="AccessDenied"):
        storage.put_object(Bucket=theirs.storage.bucket, Key="a", Body=b"1")


def test_a_rotated_password_replaces_the_former_one(house: None) -> None:
    acme = onboarded("acme")
    before = lifecycle.hand_out_credentials(tenant=acme, actor=BILLING)
    run = driven(lifecycle.rotate_credentials(tenant=acme, reason="yearly", actor=BILLING, key="rotate-1"))
    assert run.state == RunState.SUCCEEDED, run.error
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(before.database.url)
    after = lifecycle.hand_out_credentials(tenant=acme, actor=BILLING)
    psycopg.connect(after.database.url).close()


def test_no_secret_reaches_a_row_of_the_control_database(house: None) -> None:
    acme = onboarded("acme")
    given = lifecycle.hand_out_credentials(tenant=acme, actor=BILLING)
    secrets = (given.database.password, given.storage.secret_access_key, given.storage.session_token)
    with connection.cursor() as cursor:
        cursor.execute("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
        for (table,) in cursor.fetchall():
            cursor.execute(sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(table)))
            for (row,) in cursor.fetchall():
                assert not any(secret in row for secret in secrets), table


def test_a_tenant_is_updated_by_version_and_never_in_its_slug(house: None) -> None:
    acme = onboarded("acme")
    changed = lifecycle.update_tenant(
        tenant=acme, changes={"name": "Acme GmbH", "labels": {"team": "north"}}, if_version=acme.version, actor=BILLING
    )
    assert (changed.name, changed.labels, changed.version) == ("Acme GmbH", {"team": "north"}, acme.version + 1)
    with pytest.raises(lifecycle.VersionMismatch):
        lifecycle.update_tenant(tenant=acme, changes={"name": "x"}, if_version=acme.version, actor=BILLING)


def test_every_copy_has_the_shape_of_its_release(house: None) -> None:
    acme, globex = onboarded("acme", Tier.SCHEMA), onboarded("globex", Tier.DATABASE)
    release = Release.objects.get(current=True)
    assert {tiers.fingerprint(tenant.context()) for tenant in (acme, globex)} == {release.fingerprint}


def test_a_resource_removed_behind_our_back_is_found(house: None) -> None:
    acme = onboarded("acme")
    bucket = Resource.objects.of(acme.pk, ResourceKind.BUCKET)
    Bucket().deprovision(acme.context(), bucket.handle, claim=None)  # type: ignore[arg-type]  # needs no claim
    found = lifecycle.verify_resources(tenant=acme, actor=BILLING)
    assert any(finding.severity in {"error", "critical"} for finding in found)
    bucket.refresh_from_db()
    assert bucket.findings
    assert bucket.verified_at is not None


def test_the_key_of_a_repeat_is_good_for_its_own_verb_only(house: None) -> None:
    key = str(uuid4())
    acme, globex = onboarded("acme"), onboarded("globex")
    lifecycle.rotate_credentials(tenant=acme, reason="yearly", actor=BILLING, key=key)
    with pytest.raises(lifecycle.KeyReused):
        lifecycle.rotate_credentials(tenant=globex, reason="yearly", actor=BILLING, key=key)
    assert Plan.objects.count() == len(Tier)
