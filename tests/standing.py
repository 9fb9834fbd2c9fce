"""Rows as a worker would have left them, for states that take minutes or a broken server to reach."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

from django.db import connections
from django.utils import timezone

from provisioning import lifecycle
from provisioning.engine.record import GIVEN_UP
from provisioning.models import Direction, EventKind, QueuePulse, Run, RunEvent, RunState, RunStep, StepState
from tenants.models import Placement, Tenant
from tests.fleet import BILLING, accepted, driven, onboarded

AWAY = {
    "code": "STORE_AWAY",
    "detail": "The object store did not answer within 5 s.",
    "hint": "See whether it runs, then retry.",
    "step": "create bucket",
    "attempts": 8,
    "retryable": True,
}


@dataclass(frozen=True, slots=True)
class Fleet:
    """Operations by the state they are in; `active` is acme, whose onboarding succeeded for real."""

    active: Tenant
    queued: Run
    running: Run
    waiting: Run
    paused: Run
    parked: Run
    failed: Run
    succeeded: Run

    def runs(self) -> dict[str, Run]:
        names = ("queued", "running", "waiting", "paused", "parked", "failed", "succeeded")
        return {name: getattr(self, name) for name in names}


def make() -> None:
    """acme is onboarded; the others are stopped on their way by writing what a worker would have written."""
    onboarded("acme")
    failed("failed-one")  # driven before the others are there: a driver takes whatever waits
    accepted("queued-one")
    held(accepted("running-one"))
    waits(accepted("waiting-one"))
    paused(accepted("paused-one"))
    parked(accepted("parked-one"))
    alive()


def found() -> Fleet:
    """What `make` made."""
    states = ("queued", "running", "waiting", "paused", "parked", "failed")
    runs = {state: Run.objects.get(tenant__slug=f"{state}-one") for state in states}
    acme = Tenant.objects.get(slug="acme")
    return Fleet(active=acme, succeeded=Run.objects.get(tenant=acme), **runs)


def alive() -> None:
    """Workers looked for work just now."""
    for queue in ("operations", "fleet"):
        QueuePulse.objects.update_or_create(queue=queue, defaults={"looked_at": timezone.now()})


def begun(run: Run, step: str, step_state: StepState, **fields: object) -> Run:
    """The run as far as `step`: all before it succeeded, half a second each."""
    at = timezone.now() - timedelta(seconds=10)
    row = run.steps.get(name=step, direction=Direction.DO)
    for each in run.steps.filter(position__lt=row.position).order_by("position"):
        RunStep.objects.filter(pk=each.pk).update(
            state=StepState.SUCCEEDED, started_at=at, finished_at=at + timedelta(seconds=0.5)
        )
        at += timedelta(seconds=0.5)
    RunStep.objects.filter(pk=row.pk).update(state=step_state, started_at=at)
    claimed = {"fence": Run.objects.count() + 1_000_000, "started_at": at, "owner": "", "lease_until": None}
    Run.objects.filter(pk=run.pk).update(**{**claimed, "step": step, "control": None, **fields})
    run.refresh_from_db()
    return run


def held(run: Run, *, owner: str = "host:1/w1") -> Run:
    """A worker is at it now."""
    until = timezone.now() + timedelta(minutes=5)
    return begun(run, "create role", StepState.STARTED, state=RunState.RUNNING, owner=owner, lease_until=until)


def long_ago(run: Run, length: timedelta) -> None:
    """Everything that was written of the run is that much older. Events are append-only for all but their owner."""
    with connections["owner"].cursor() as cursor:
        for table, key, columns in (
            ("provisioning_run", "id", ("created_at", "started_at")),
            ("provisioning_runstep", "run_id", ("started_at", "finished_at")),
            ("provisioning_runevent", "run_id", ("at",)),
        ):
            changes = ", ".join(f"{column} = {column} - %s::interval" for column in columns)
            cursor.execute(f"UPDATE {table} SET {changes} WHERE {key} = %s", [*[str(length)] * len(columns), run.pk])


def waits(run: Run) -> Run:
    """Failed once, to be tried again soon."""
    run = begun(
        run,
        "create bucket",
        StepState.WAITING,
        state=RunState.RUNNING,
        error=AWAY,
        attempts=1,
        run_at=timezone.now() + timedelta(seconds=50),
    )
    _failures(run, 1)
    return run


def paused(run: Run) -> Run:
    return begun(run, "create role", StepState.PENDING, state=RunState.PAUSED)


def parked(run: Run, step: str = "create bucket") -> Run:
    """Eight attempts, then a stop for a person."""
    run = begun(
        run, step, StepState.FAILED, state=RunState.PARKED, error={**AWAY, "hint": GIVEN_UP, "step": step}, attempts=8
    )
    _failures(run, 8)
    RunEvent.objects.create(run=run, step=step, direction=Direction.DO, kind=EventKind.PARKED, detail="STORE_AWAY")
    return run


def failed(slug: str) -> Run:
    """An onboarding that was parked, and then undone for real."""
    run = parked(accepted(slug), "reserve placement")
    lifecycle.undo(run, reason="The store is gone.", actor=BILLING)
    driven(run)
    assert run.state == RunState.FAILED, (run.state, run.error)
    return run


def tenants(number: int, *, like: Tenant) -> None:
    """Many tenants that are copies of one, each with a placement, resources and an operation that succeeded."""
    placement, run = (
        Placement.objects.get(tenant=like, active=True),
        Run.objects.filter(tenant=like).earliest("created_at"),
    )
    steps, resources = list(run.steps.all()), list(like.resources.all())
    for _ in range(number):
        copy = Tenant.objects.get(pk=like.pk)
        copy.pk, copy.slug, copy.audit_chain, copy.incarnation = uuid4(), f"copy-{uuid4().hex[:12]}", uuid4(), uuid4()
        copy.external_ref = None
        copy.save(force_insert=True)
        placement.pk, placement.tenant = uuid4(), copy
        placement.save(force_insert=True)
        run.pk, run.tenant, run.key, run.fence = uuid4(), copy, str(uuid4()), None
        run.lock_key = f"tenant:{copy.pk}"
        run.save(force_insert=True)
        for row in (*steps, *resources):
            row.pk = None if row in steps else uuid4()
            row._state.adding = True
        for step in steps:
            step.run = run
        for resource in resources:
            resource.tenant = copy
        RunStep.objects.bulk_create(steps)
        type(resources[0]).objects.bulk_create(resources)


def _failures(run: Run, number: int) -> None:
    row = run.steps.get(name=run.step, direction=Direction.DO)
    RunStep.objects.filter(pk=row.pk).update(attempts=number, note=AWAY["detail"])
    began = row.started_at or timezone.now()
    for n in range(number):
        RunEvent.objects.create(
            run=run,
            step=run.step,
            direction=Direction.DO,
            kind=EventKind.FAILED,
            began_at=began,
            at=began + timedelta(seconds=2**n / 10),
            detail=f"{AWAY['code']}: {AWAY['detail']}",
        )
