"""Backups from before an erasure are restored: what they bring back is not served, and goes again."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings as project
from django.core.management import call_command
from django.test import RequestFactory

from controlplane.health import readyz
from controlplane.stack.embedded import Stack
from provisioning.erasure import hold_archive, verbs
from provisioning.erasure.restored import look_again
from tenants import audit
from tenants.models import AuditEntry, Tenant
from tenants.placement import tenant_key
from tenants.states import TenantState, Tier
from tests import databases
from tests.provisioning.erasure.small import ALICE
from tests.provisioning.erasure.test_hold_archive import held
from tests.provisioning.erasure.whole import NOT_COVERED, approved, filled, found_of, life_of, settled, stored

pytestmark = pytest.mark.drawn(1, among="whole erasures")

CLUSTER = "local-1/tenure_cluster"


@pytest.fixture(autouse=True)
def no_soak(house: None, settings: Any) -> Iterator[None]:
    settings.TENURE_ERASURE_SOAK_S = 0
    forget_in_the_cluster()
    look_again()
    yield
    forget_in_the_cluster()
    look_again()


def forget_in_the_cluster() -> None:
    with psycopg.connect(os.environ["CLUSTER_URL"], autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS tenure.ledger_mark")


def missing() -> str:
    look_again()
    answer: dict[str, dict[str, str]] = json.loads(readyz(RequestFactory().get("/readyz")).content)
    return answer["missing"].get("erasures", "")


def test_what_backups_bring_back_is_not_served_and_erased_again(stack: Stack, tmp_path: Path) -> None:
    acme, globex = filled("acme-restored-gmbh", Tier.SCHEMA), filled("globex", Tier.SCHEMA)
    small = stored(acme)
    request = small.swept(small.asked())
    hold = held(request, "schema", ".projects_member")
    databases.save_as(stack, "backup")
    dump = dumped(stack, tenant_key(acme.pk), tmp_path)
    settled(small, approved(small, request))
    before = life_of(globex.context(), globex)
    assert missing() == ""

    databases.close_all()
    databases._copy(stack, "tenure_backup", "tenure")  # the keyring has backups of its own
    restore(stack, dump, role=tenant_key(acme.pk))
    assert Tenant.objects.get(slug="acme-restored-gmbh").state == TenantState.ACTIVE
    assert {place for place, _word in found_of(stack, ("acme-restored-gmbh",))} >= {
        "tenants_tenant",
        f"{tenant_key(acme.pk)}.projects_member",
    }
    said = missing()
    assert "The database control is older than 1 erasures" in said
    assert f"The database {CLUSTER} is older than 1 erasures" in said

    out = StringIO()
    call_command("replay_erasures", stdout=out)
    assert "Erased again, verified and marked" in out.getvalue()
    assert missing() == ""
    assert {place for place, _word in found_of(stack, ("acme-restored-gmbh",))} <= NOT_COVERED
    assert Tenant.objects.get(pk=acme.pk).state == TenantState.ERASED
    assert audit.verify(acme.audit_chain).intact
    actions = AuditEntry.objects.filter(chain=acme.audit_chain).order_by("seq").values_list("public__action", flat=True)
    assert "erasure.replayed" in actions
    assert life_of(globex.context(), globex) == before
    assert (hold.archived, len(list(hold_archive.opened(hold)))) == (1, 1)  # the backup had no archive, and the row
    assert verbs.release_records(hold, actor=ALICE, key="release").follows_id == request.pk


def url_of_cluster(stack: Stack) -> str:
    return f"{stack.superuser_url.rsplit('/', 1)[0]}/tenure_cluster"


def dumped(stack: Stack, schema: str, folder: Path) -> Path:
    path, binary = folder / "schema.sql", Path(project.PG_BIN) / "pg_dump"
    subprocess.run([str(binary), "--schema", schema, "--file", str(path), url_of_cluster(stack)], check=True)
    return path


def restore(stack: Stack, dump: Path, *, role: str) -> None:
    """What a backup of the cluster brings back: its roles, the schema, and no mark."""
    with psycopg.connect(os.environ["CLUSTER_URL"], autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role}".encode())
    binary = Path(project.PG_BIN) / "psql"
    given = ["-v", "ON_ERROR_STOP=1", "-qXo", os.devnull, "-f", str(dump), url_of_cluster(stack)]
    subprocess.run([str(binary), *given], check=True)
    forget_in_the_cluster()
