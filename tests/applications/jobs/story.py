"""A queue's day: jobs deferred one by one, in a batch and by the clock; a worker that runs them; its own SQL functions.

The worker runs on Django's connection. Procrastinate's usual one opens connections of its own, which no tenant has.
"""

from typing import Any

from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.db import connections
from django.utils import timezone
from procrastinate import jobs
from procrastinate.contrib.django import app
from procrastinate.contrib.django.models import ProcrastinateEvent, ProcrastinateJob, ProcrastinatePeriodicDefer
from procrastinate.exceptions import AlreadyEnqueued

from tenants.context import TenantContext, current

SITE: dict[str, Any] = {}
MONDAY = 1_767_571_200  # a time of the clock's, in seconds


@app.task(name="welcome", queue="mail")
def welcome(name: str) -> str:
    """A job that writes a row of the tenant whose worker runs it. In a thread of the worker's own."""
    try:
        return str(User.objects.create_user(name, f"{name}@{current().slug}.example").email)
    finally:
        connections.close_all()


@app.task(name="fail", queue="mail")
def fail() -> None:
    raise ValueError("This job always fails.")


def work(slug: str) -> dict[str, Any]:
    """Equal queueing locks in both queues; each worker finds its own tenant's jobs."""
    welcome.configure(queueing_lock="eve", lock="mail", priority=2).defer(name="eve")
    welcome.batch_defer({"name": "bob"}, {"name": "joe"})
    fail.configure(priority=-1).defer()
    by_the_clock = [at_the_full_hour(slug) is not None for _attempt in range(2)]
    found = {
        "enqueued twice": enqueued_twice(),
        "by the clock": by_the_clock,
        "waiting": list(ProcrastinateJob.objects.order_by("id").values_list("task_name", "status", "priority")),
    }
    async_to_sync(app.run_worker_async)(wait=False, listen_notify=False, install_signal_handlers=False)
    return {
        **found,
        "done": list(ProcrastinateJob.objects.order_by("id").values_list("task_name", "status", "attempts")),
        "events": sorted(ProcrastinateEvent.objects.values_list("job__task_name", "type")),
        "users": sorted(User.objects.values_list("email", flat=True)),
        "enqueued again": enqueued_twice(),
    }


def enqueued_twice() -> bool:
    """Whether a partial unique index refuses a second job with this lock while the first one waits.

    In a pool PostgreSQL names the index and keeps the values to itself, as it does wherever there is row security;
    Procrastinate asserts that they are told.
    """
    try:
        welcome.configure(queueing_lock="eve", schedule_in={"days": 1}).defer(name="late")
    except (AlreadyEnqueued, AssertionError):
        return True
    return False


def at_the_full_hour(slug: str) -> int | None:
    """The number of a new job, or None for an hour that has its job. ON CONFLICT, in a function of Procrastinate's."""
    arguments: dict[str, Any] = {"timestamp": MONDAY, "name": f"monday of {slug}"}
    job = jobs.Job(
        id=None, queue="mail", lock=None, queueing_lock=None, task_name="welcome", task_kwargs=arguments, priority=0
    )
    return async_to_sync(app.job_manager.defer_periodic_job)(job, "weekly", MONDAY)


def visit(_client: Any, _context: TenantContext) -> dict[str, Any]:
    """Procrastinate has no pages."""
    return {}


def reckon(_slug: str) -> dict[str, Any]:
    """Its own listings, retries and deletions."""
    failed = ProcrastinateJob.objects.get(task_name="fail")
    async_to_sync(app.job_manager.retry_job_by_id_async)(failed.pk, retry_at=timezone.now())
    retried = ProcrastinateJob.objects.get(pk=failed.pk).status
    app.job_manager.cancel_job_by_id(failed.pk, delete_job=True)
    return {
        "retried": retried,
        "queues": [(each["name"], each["jobs_count"]) for each in app.job_manager.list_queues()],
        "tasks": sorted((each["name"], each["jobs_count"]) for each in app.job_manager.list_tasks()),
        "events of the deleted": ProcrastinateEvent.objects.filter(job_id=failed.pk).count(),
        "by the clock": list(ProcrastinatePeriodicDefer._default_manager.values_list("periodic_id", "defer_timestamp")),
    }
