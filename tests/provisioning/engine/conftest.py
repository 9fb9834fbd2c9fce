from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.db import transaction

from provisioning.engine.start import start
from provisioning.engine.workflow import Workflow
from provisioning.models import Run
from tenants.models import Plan, Tenant
from tests.provisioning.engine.building import BOB, BUILD, House
from tests.provisioning.engine.driving import Begin


@pytest.fixture
def acme(control: None) -> Tenant:
    plan = Plan.objects.create(name="standard", tier="schema")
    return Tenant.objects.create(slug="acme", name="Acme", principal="user:7", plan=plan, region="eu")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    return folder


@pytest.fixture
def begin(acme: Tenant, site: Path) -> Begin:
    """Start a run of BUILD for acme, whose `trouble` the test chooses."""

    def begin(
        workflow: Workflow = BUILD, *, at: Path = site, trouble: dict[str, str] | None = None, **more: Any
    ) -> Run:
        settings = {"actor": BOB, "key": str(uuid4()), "tenant_id": acme.pk, "lock_key": f"tenant:{acme.pk}", **more}
        with transaction.atomic():
            return start(workflow, input=House(str(at), trouble or {}, counted=acme.pk), **settings)

    return begin
