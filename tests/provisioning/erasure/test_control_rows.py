from typing import Any
from uuid import uuid4

import psycopg
import pytest
from django.conf import settings as project
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.core import serializers
from django.db import connections, transaction
from django.utils import timezone

from provisioning.erasure.erasers.control_rows import ControlRowsEraser
from provisioning.erasure.naming import identifiers_of
from provisioning.erasure.stores import Identifier, Scope
from provisioning.erasure.verifiers.control_rows import ControlRowsVerifier
from provisioning.models import IdempotencyKey, Release, Resource, Rollout, Run, RunEvent, RunStep, Secret
from tenants.context import TenantContext
from tenants.events import EventType, record, record_of_fleet
from tenants.models import Domain, Event, Tenant
from tests.pair import Pair
from tests.provisioning.erasure.counting import Killed, erased, scope_of, total, verdict

ERASER, VERIFIER = ControlRowsEraser(), ControlRowsVerifier()
LETTER = "Ada@Example.com wrote to us"


def named(tenant: TenantContext) -> Scope:
    """A whole tenant, by the names it had before anything was erased."""
    return scope_of(tenant, *identifiers_of(tenant.tenant_id))


def spoken_of(tenant: TenantContext) -> None:
    """Every kind of row that says something of a tenant, beside what its onboarding wrote."""
    run = Run.objects.get(tenant_id=tenant.tenant_id)
    Run.objects.filter(pk=run.pk).update(reason=LETTER, forced=True)
    RunStep.objects.filter(run=run, position=3).update(note=LETTER, output={"to": LETTER}, reason=LETTER)
    RunEvent.objects.create(run=run, step="x", direction="do", kind="failed", detail=LETTER)
    Tenant.objects.filter(pk=tenant.tenant_id).update(
        labels={"owner": "ada@example.com"}, external_ref=f"crm {tenant.slug}"
    )
    body = f'{{"slug":"{tenant.slug}"}}'.encode()
    stored = {"fingerprint": b"", "expires_at": timezone.now(), "body": body}
    for key, its_run in (("started", run), ("changed", None)):
        IdempotencyKey.objects.create(principal="billing", key=f"{key} {tenant.slug}", run=its_run, **stored)
    with transaction.atomic():
        record(EventType.TENANT_UPDATED, tenant_id=tenant.tenant_id, data={"name": LETTER})
        record_of_fleet(EventType.ROLLOUT_PAUSED, data={"target": tenant.slug, "wave": 3})
    operator = User.objects.get_or_create(username="operator")[0]
    LogEntry.objects.create(
        user=operator,
        content_type=ContentType.objects.get_for_model(Tenant),
        object_id=str(tenant.tenant_id),
        object_repr=tenant.slug,
        action_flag=2,
        change_message=LETTER,
    )
    Rollout.objects.create(
        release=Release.objects.get(current=True),
        proposed_by="user:1",
        key=str(uuid4()),
        canary=[tenant.slug, f"{tenant.slug}-two"],
        plan={"waves": [{"targets": [tenant.slug, "initech"]}]},
        reason="Because of the ticket.",
    )


def rows_of(tenant: TenantContext) -> str:
    """Everything of a tenant that the control database holds, as text."""
    parts = [
        Tenant.objects.filter(pk=tenant.tenant_id),
        *(model.objects.filter(tenant_id=tenant.tenant_id) for model in (Run, Resource, Secret, Domain, Event)),
        *(model.objects.filter(run__tenant_id=tenant.tenant_id) for model in (RunStep, RunEvent)),
        IdempotencyKey.objects.filter(key__endswith=tenant.slug),
    ]
    return "\n".join(serializers.serialize("json", part.order_by("pk")) for part in parts)


@pytest.fixture
def pair(changing_pair: Pair) -> Pair:
    for tenant in (changing_pair.acme, changing_pair.globex):
        spoken_of(tenant)
    return changing_pair


def test_acme_becomes_a_skeleton_and_globex_keeps_every_row(pair: Pair, settings: Any) -> None:
    acme, before = pair.acme, rows_of(pair.globex)
    scope = named(acme)
    assert verdict(VERIFIER, scope).status == "dirty"
    planned = total(VERIFIER, scope)
    found = ERASER.enumerate(scope)

    with pytest.raises(Killed):
        erased(ERASER, scope, found=found, dies_at=9)
    assert 0 < total(VERIFIER, scope) < planned
    erased(ERASER, scope, found=found, items=4)
    left = verdict(VERIFIER, scope)
    assert (left.status, left.reasons) == ("clean", ())
    assert erased(ERASER, scope, found=found) == 0

    row = Tenant.objects.get(pk=acme.tenant_id)
    assert (len(row.slug), row.slug[:7], row.name, row.principal, row.external_ref, row.labels) == (
        15, "erased-", "", "", None, {},
    )  # fmt: skip
    assert set(Resource.objects.filter(tenant=row).values_list("state", flat=True)) == {"removed"}
    assert not Secret.objects.filter(tenant=row).exists()
    assert Event.objects.get(tenant=None, data__target="erased").data == {"target": "erased", "wave": 3}
    rollout = Rollout.objects.get(canary__contains=["acme-two"])
    assert rollout.plan == {"waves": [{"targets": ["erased", "initech"]}]}
    assert rollout.reason == "Because of the ticket."
    assert rows_of(pair.globex) == before
    assert "acme" not in rows_of(acme).replace("acme-two", "").lower()

    # What nobody erases, found by the same names.
    with transaction.atomic():
        record_of_fleet(EventType.ROLLOUT_PAUSED, data={"detail": "No answer from acme.localhost: gone."})
    assert verdict(VERIFIER, scope).reasons == ("control:tenants_event still holds 1",)

    settings.VERIFIER_URL = "postgresql://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(**project.DATABASES["default"])
    assert verdict(VERIFIER, scope).status == "unknown"


def test_of_a_person_go_the_texts_that_speak_of_it(pair: Pair) -> None:
    scope = scope_of(pair.acme, Identifier("email", "ada@example.com"), subject=True)
    assert total(VERIFIER, scope) > 4
    others = rows_of(pair.globex)
    erased(ERASER, scope)
    assert verdict(VERIFIER, scope).status == "clean"
    assert "ada@example.com" not in rows_of(pair.acme).lower()
    assert rows_of(pair.globex) == others
    assert Tenant.objects.get(pk=pair.acme.tenant_id).slug == "acme"


def test_a_table_and_a_column_that_nobody_classified_block(changing_pair: Pair) -> None:
    scope = scope_of(changing_pair.acme)
    assert VERIFIER.coverage(scope).unclassified == ()  # each of the live catalog, as it is today
    with connections["owner"].cursor() as cursor:
        cursor.execute("CREATE TABLE leads (email text); ALTER TABLE tenants_tenant ADD COLUMN motto text")
    assert VERIFIER.coverage(scope).unclassified == ("control:leads", "control:tenants_tenant.motto")
    assert not VERIFIER.control(scope).ok  # nobody granted the verifier the new one


def test_the_verifiers_role_reads_everything_and_writes_nothing(changing_pair: Pair) -> None:
    with psycopg.connect(project.VERIFIER_URL, autocommit=True) as connection:
        assert connection.execute("SELECT count(*) FROM provisioning_secret").fetchone() != (0,)
        for act in ("UPDATE tenants_tenant SET name = ''", "DELETE FROM tenants_domain"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(act)
