from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.db import connections, transaction

from controlplane.stack.embedded import Stack
from provisioning.engine.start import start
from provisioning.engine.workflow import Workflow
from provisioning.models import Run
from tenants.models import Plan, Tenant
from tests import databases
from tests.crashes.harness import Workers
from tests.provisioning.engine.building import BOB, BUILD, House
from tests.provisioning.engine.driving import Begin


@pytest.fixture(scope="module")
def control_of_module(stack: Stack, migrated: None, django_db_blocker: Any) -> Iterator[None]:
    with django_db_blocker.unblock():
        yield from databases.fresh(stack, "migrated")


@pytest.fixture
def control(control_of_module: None) -> Iterator[None]:
    """An empty engine: emptying its tables takes a fifth of the time of copying a database."""
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "TRUNCATE tenants_tenant, tenants_plan, provisioning_run, provisioning_runlimit, provisioning_queuepulse"
            " CASCADE"
        )
    connections["owner"].close()
    yield
    databases.close_all()


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


@pytest.fixture(scope="module")
def zygote(control_of_module: None) -> Iterator[Workers]:
    with Workers("tests.provisioning.engine.building.WORKFLOWS") as workers:
        yield workers


@pytest.fixture
def workers(zygote: Workers) -> Iterator[Workers]:
    yield zygote
    zygote.end_all()


@pytest.fixture
def lot(tmp_path: Path) -> Callable[[str], Path]:
    """A building site for each kill of a test."""

    def lot(name: str) -> Path:
        folder = tmp_path / name.replace("/", "-").replace(":", "-").replace(" ", "-")
        folder.mkdir()
        return folder

    return lot
