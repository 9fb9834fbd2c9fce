import pytest

from provisioning import lifecycle
from provisioning.errors import OperationInProgress, ReasonMissing
from provisioning.models import AdoptedDrift
from provisioning.rollout.drift import State, stands, target_named
from provisioning.rollout.repair import (
    NothingToRepair,
    NotRepairable,
    RepairChanged,
    RepairFailed,
    RepairPlan,
    plan_repair,
)
from tenants.audit import AuditAction
from tenants.models import AuditEntry, Pool, Tenant
from tests.fleet import BILLING, onboarded
from tests.provisioning.rollout.conftest import Change

pytestmark = pytest.mark.long


def repaired(name: str) -> RepairPlan:
    target = target_named(name)
    return lifecycle.repair_drift(target=target, digest=plan_repair(target=target).digest, actor=BILLING)


@pytest.fixture
def acme(house: None) -> str:
    onboarded("acme")
    return "acme"


def test_a_repair_is_shown_and_makes_the_target_its_releases_again(acme: str, change: Change) -> None:
    target = change(acme, "ALTER TABLE {0}.projects_project ADD spare int; DROP INDEX {0}.document_newest_first")
    plan = plan_repair(target=target)
    assert [each.statement for each in plan.statements] == [
        f'ALTER TABLE "{target.schema}"."projects_project" DROP COLUMN "spare"',
        "CREATE INDEX document_newest_first ON projects_document USING btree (project_id, uploaded_at DESC)",
    ]
    assert stands(target).state == State.DRIFTED  # a plan changes nothing
    repaired(acme)
    assert stands(target).state == State.AS_RELEASED


def test_what_nobody_can_make_again_is_left_to_a_person_and_nothing_is_sent(acme: str, change: Change) -> None:
    target = change(acme, "ALTER TABLE {0}.projects_project ADD spare int, DROP description")
    before = stands(target)
    with pytest.raises(NotRepairable, match=r"differs in column projects_project\.description"):
        repaired(acme)
    assert stands(target) == before


def test_a_repair_that_the_rows_refuse_changes_nothing(acme: str, change: Change) -> None:
    target = change(
        acme,
        "ALTER TABLE {0}.projects_project ADD spare int; ALTER TABLE {0}.projects_project DROP CONSTRAINT"
        " project_name_once; INSERT INTO {0}.projects_project (name, description, created_at)"
        " VALUES ('twice', '', now()), ('twice', '', now())",
    )
    before = stands(target)
    with pytest.raises(RepairFailed, match="could not create unique index"):
        repaired(acme)
    assert stands(target) == before


def test_a_plan_that_is_out_of_date_is_not_run(acme: str, change: Change) -> None:
    target = change(acme, "ALTER TABLE {0}.projects_project ADD spare int")
    digest = plan_repair(target=target).digest
    change(acme, "ALTER TABLE {0}.projects_project ADD precious text")
    before = stands(target)
    with pytest.raises(RepairChanged):
        lifecycle.repair_drift(target=target, digest=digest, actor=BILLING)
    assert stands(target) == before


def test_what_does_not_differ_is_not_repaired(acme: str) -> None:
    with pytest.raises(NothingToRepair):
        repaired(acme)


def test_a_tenant_that_is_being_worked_on_is_left_alone(acme: str, change: Change) -> None:
    target = change(acme, "ALTER TABLE {0}.projects_project ADD spare int")
    tenant = Tenant.objects.get(slug=acme)
    lifecycle.rotate_credentials(tenant=tenant, reason="leaked", actor=BILLING, key="k")
    with pytest.raises(OperationInProgress):
        repaired(acme)
    assert stands(target).state == State.DRIFTED


def test_a_repair_ends_an_adoption_and_is_in_the_audit_log(acme: str, change: Change) -> None:
    target = change(acme, "ALTER TABLE {0}.projects_project ADD spare int")
    with pytest.raises(ReasonMissing):
        lifecycle.adopt_drift(target=target, reason="", actor=BILLING)
    lifecycle.adopt_drift(target=target, reason="theirs", actor=BILLING)
    repaired(acme)
    assert not AdoptedDrift.objects.filter(ended_at=None).exists()
    actions = AuditEntry.objects.values_list("public__action", flat=True)
    assert {AuditAction.DRIFT_ADOPTED, AuditAction.DRIFT_REPAIRED} <= set(actions)


def test_what_is_too_much_in_a_pool_goes_too(own_pool: Pool, change: Change) -> None:
    name = f"local-1/{own_pool.schema}"
    target = change(name, "CREATE INDEX mine ON {0}.projects_project (name); DROP INDEX {0}.document_newest_first")
    repaired(name)
    assert stands(target).state == State.AS_RELEASED
