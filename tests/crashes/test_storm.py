"""Onboarding in bad weather: workers killed and frozen, the broker emptied, PostgreSQL restarted at once."""

import os
import random
import signal
from collections.abc import Callable, Iterator

import pytest
import redis
from django.conf import settings

from controlplane.stack.embedded import Stack
from provisioning.models import Run, RunLimit, RunStep
from tenants.models import Event, Tenant
from tenants.states import TenantState, Tier
from tests import databases
from tests.crashes.harness import Worker, Workers, wait_for
from tests.crashes.inventory import inventory, number_of_things, things, whole
from tests.fleet import accepted

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]

LEASE_S = 2.0
TENANTS, CREW = 8, 2
FAULTS = ("kill", "freeze", "empty the broker", "restart", "wake twice", "kill", "freeze", "restart")


@pytest.fixture
def workers(house: None) -> Iterator[Workers]:
    with Workers("provisioning.workflows.WORKFLOWS") as workers:
        yield workers


def test_onboarding_in_a_storm_ends_as_if_nothing_had_happened(stack: Stack, workers: Workers) -> None:
    seed = int(os.environ.get("TENURE_STORM_SEED", random.randrange(10**6)))
    print(f"TENURE_STORM_SEED={seed}")  # noqa: T201  to see the same storm again
    dice = random.Random(seed)
    RunLimit.objects.update(max_running=TENANTS)
    before = things(stack)
    for number in range(TENANTS):
        accepted(f"acme-{number}", (Tier.SCHEMA, Tier.DATABASE, Tier.POOL)[number % 3])
    crew = [workers.fork(forever=True, lease_s=LEASE_S) for _ in range(CREW)]
    frozen: list[Worker] = []
    for fault in dice.sample(FAULTS, len(FAULTS)):
        place = dice.randrange(CREW)
        match fault:
            case "kill":
                os.kill(crew[place].pid, signal.SIGKILL)
                crew[place] = workers.fork(forever=True, lease_s=LEASE_S)
            case "freeze":  # it comes back at the end, long after its lease, and without its self-kill
                worker = workers.fork(forever=True, lease_s=LEASE_S, self_kill=False)
                frozen.append(worker)
                wait_for(lambda: Run.objects.filter(lease_until__isnull=False).exists() or all_ended())
                worker.freeze()
            case "empty the broker":
                redis.Redis.from_url(settings.BROKER_URL).flushall()
            case "restart":
                databases.close_all()
                stack.restart("postgres", by=signal.SIGQUIT)
            case "wake twice":
                workers.fork(lease_s=LEASE_S)
                workers.fork(lease_s=LEASE_S)
        wait_for(somebody_got_on())
    for worker in frozen:
        worker.thaw()
    workers.fork(forever=True, lease_s=LEASE_S)
    wait_for(all_ended, within_s=120)

    assert set(Run.objects.values_list("state", flat=True)) == {"succeeded"}, list(
        Run.objects.exclude(state="succeeded").values_list("state", "step", "error")
    )
    tenants = {tenant.slug: tenant for tenant in Tenant.objects.all()}
    assert {tenant.state for tenant in tenants.values()} == {TenantState.ACTIVE}
    expected = {slug: whole(Tier(tenant.context().tier)) for slug, tenant in tenants.items()}
    assert {slug: inventory(stack, tenant) for slug, tenant in tenants.items()} == expected
    expected_things = sum(number_of_things(Tier(tenant.context().tier)) for tenant in tenants.values())
    assert len(things(stack) - before) == expected_things  # no orphan
    assert Event.objects.filter(type="tenant.activated").count() == TENANTS


def somebody_got_on() -> Callable[[], bool]:
    """True once another step has succeeded than had when this was called, or nothing is left to do."""
    done = RunStep.objects.filter(state="succeeded").count()
    return lambda: all_ended() or RunStep.objects.filter(state="succeeded").count() > done


def all_ended() -> bool:
    return not Run.objects.filter(finished_at=None).exists()
