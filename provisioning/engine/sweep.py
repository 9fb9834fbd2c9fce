"""Look after what waits: deadlines, forgotten wake-ups, expired keys. Any number of copies may run."""

from datetime import timedelta

from django.db import connection, transaction
from django.db.models import Q
from django.db.models.functions import Now

from provisioning.engine import bell, record
from provisioning.engine.drive import advance
from provisioning.engine.workflow import Workflows
from provisioning.models import IdempotencyKey, Queue, Run, RunState
from tenants.audit import Actor

SWEEPER = Actor("system", "sweeper", "the sweeper")
MOST_RINGS = 8  # enough to wake every process of a worker; each goes on by itself until nothing is left
NOBODY_ANSWERS = timedelta(seconds=15)
OWN_SLICE_S = 5.0  # short: other queues wait meanwhile, and so does whoever wants this process to end
KEYS_AT_ONCE = 1_000


def sweep(workflows: Workflows) -> None:
    """One pass, meant to be made every 5 s. Drives runs itself when nobody answers the bell."""
    park_overdue()
    prune_keys()
    for queue in Queue:
        runnable, longest = waiting(queue, workflows)
        for _ring in range(max(1, min(runnable, MOST_RINGS))):  # one when idle: whoever comes shows that it lives
            bell.ring(queue)
        if runnable and longest > NOBODY_ANSWERS:
            advance(queue=queue, workflows=workflows, slice_s=OWN_SLICE_S)


def waiting(queue: Queue, workflows: Workflows) -> tuple[int, timedelta]:
    """How many runs of a queue could be claimed now, and for how long the first of them could have been."""
    names, versions = [name for name, _version in workflows], [version for _name, version in workflows]
    with connection.cursor() as cursor:
        cursor.execute("SELECT runnable, longest FROM run_waiting(%s, %s, %s)", (str(queue), names, versions))
        runnable, longest = cursor.fetchone()
    return runnable, longest


def park_overdue() -> None:
    """Park what waited past its step's deadline. Rows that somebody is writing are left for the next pass."""
    late = Q(state=RunState.RUNNING, lease_until=None, deadline_at__lt=Now())
    for pk in Run.objects.filter(late).values_list("pk", flat=True):
        with transaction.atomic():
            run = Run.objects.select_for_update(no_key=True, skip_locked=True).filter(late, pk=pk).first()
            if run is not None:
                row = record.current(run)
                record.park(run, row, record.overdue(row), actor=SWEEPER)


def prune_keys() -> None:
    """Forget stored answers after their time, but never before their run has ended."""
    old = IdempotencyKey.objects.filter(Q(run=None) | Q(run__finished_at__isnull=False), expires_at__lt=Now())
    for principal, key in old.values_list("principal", "key")[:KEYS_AT_ONCE]:
        IdempotencyKey.objects.filter(principal=principal, key=key, expires_at__lt=Now()).delete()
