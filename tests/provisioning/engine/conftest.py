from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.db import transaction

from provisioning.engine.drive import advance
from provisioning.engine.start import start
from provisioning.engine.workflow import Workflow, Workflows
from provisioning.models import Pool, Run
from tenants.audit import Actor
from tenants.models import Plan, Tenant
from tests.provisioning.engine.building import BUILD, WORKFLOWS, House

BOB = Actor("user", "7", "Bob")

Begin = Callable[..., Run]
Finish = Callable[..., Run]


def drive(run: Run, *, workflows: Workflows = WORKFLOWS, slice_s: float = 20) -> Run:
    """One wake-up of a worker in this process, then the run as it is."""
    advance(pool=Pool.OPERATIONS, workflows=workflows, slice_s=slice_s)
    run.refresh_from_db()
    return run


def make_due(run: Run) -> None:
    """Time passes: what the run waits for comes now, and a lease left by a dead worker lapses."""
    Run.objects.filter(pk=run.pk, lease_until=None).update(run_at="2000-01-01T00:00Z")
    Run.objects.filter(pk=run.pk, lease_until__isnull=False).update(lease_until="2000-01-01T00:00Z")


def drive_on(run: Run, *, workflows: Workflows = WORKFLOWS) -> Run:
    """Wake-ups and time until nothing goes on by itself."""
    for _turn in range(60):
        drive(run, workflows=workflows)
        if run.state not in {"queued", "running"}:
            return run
        make_due(run)
    raise AssertionError(f"{run} does not come to rest: {run.state} at {run.step}")


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
