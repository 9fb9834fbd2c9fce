"""A queue's day: jobs deferred one by one, in a batch and by the clock, and run by way of its own SQL functions.

Its own worker opens connections of its own, which no tenant has.
"""

import json
from typing import Any

from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone
from procrastinate import jobs
from procrastinate.contrib.django import app
from procrastinate.contrib.django.models import ProcrastinateEvent, ProcrastinateJob, ProcrastinatePeriodicDefer
from procrastinate.exceptions import AlreadyEnqueued

from tenants.context import TenantContext, current

SITE: dict[str, Any] = {}
MONDAY = 1_767_571_200  # a time of the clock's, in seconds


@app.task(name="welcome", queue="mail")
def welcome(name: str, timestamp: int = 0) -> None:
    """A job that writes a row of the tenant it is run for."""
    User.objects.create_user(name, f"{name}@{current().slug}.example", last_name=str(timestamp))


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
    run_all()
    return {
        **found,
        "done": list(ProcrastinateJob.objects.order_by("id").values_list("task_name", "status", "attempts")),
        "workers left": ProcrastinateJob.objects.exclude(worker=None).count(),
        "events": sorted(ProcrastinateEvent.objects.values_list("job__task_name", "type")),
        "users": sorted(User.objects.values_list("email", flat=True)),
        "enqueued again": enqueued_twice(),
    }


def run_all() -> None:
    """As its worker does: register, fetch and finish until nothing is left, and go, which empties `worker_id`."""
    worker = async_to_sync(app.job_manager.register_worker)()
    while (job := fetched(worker)) is not None:
        number, name, arguments = job
        status = jobs.Status.SUCCEEDED
        try:
            app.tasks[name](**json.loads(arguments))
        except ValueError:
            status = jobs.Status.FAILED
        async_to_sync(app.job_manager.finish_job_by_id_async)(number, status, delete_job=False)
    async_to_sync(app.job_manager.unregister_worker)(worker)


def fetched(worker: int) -> tuple[int, str, str] | None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, task_name, args::text FROM procrastinate_fetch_job_v2(NULL, %s)", [worker])
        number, name, arguments = cursor.fetchone()
        return None if number is None else (number, name, arguments)


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
