"""A customer's own Celery app, as small as it gets: its tasks say whose they were, or break in one particular way."""

import os
from typing import Any

from celery import Celery, Task, signals

from tenants.context import current, current_or_none
from tenants.isolation.tasks import TenantTask

QUEUE = "shop"

app = Celery(
    "shop",
    task_cls="tenants.isolation.tasks:TenantTask",
    broker=os.environ["BROKER_URL"].rsplit("/", 1)[0] + "/3",
    backend=os.environ["CACHE_URL"].rsplit("/", 1)[0] + "/4",
)
app.conf.update(
    task_serializer="json",
    accept_content=["json"],
    task_default_queue=QUEUE,
    task_create_missing_queues=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    worker_enable_remote_control=False,
    worker_hijack_root_logger=False,
    result_expires=60,
)


class DiesInSetUp(TenantTask):
    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        super().before_start(task_id, args, kwargs)
        raise RuntimeError("in set-up")


class Careless(TenantTask):
    """It forgets to call ours."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.run(*args, **kwargs)

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        pass


@app.task
def whose(*_parts: Any) -> str:
    return current().slug


@app.task(base=Careless)
def carelessly_whose() -> str:
    return current().slug


@app.task
def projects(name: str = "") -> list[str]:
    """Add one, if it has a name, and list all."""
    from examples.projects.models import Project

    if name:
        Project.objects.create(name=name)
    return list(Project.objects.order_by("name").values_list("name", flat=True))


@app.task
def join(parts: list[str], *more: str) -> str:
    return "+".join([current().slug, "(", *parts, *more, ")"])


@app.task
def echo(value: Any, **named: Any) -> list[Any]:
    return [current().slug, value, named]


@app.task
def fail() -> None:
    raise RuntimeError("as it was asked to")


@app.task(base=DiesInSetUp)
def die_in_set_up() -> None: ...


@app.task(bind=True, max_retries=3)
def try_thrice(self: "Task[Any, Any]") -> list[Any]:
    if self.request.retries < 2:
        raise self.retry(countdown=0)
    return [current().slug, self.request.retries, self.request.id]


@app.task
def after_failure(_task_id: str) -> str:
    return f"{current().slug} heard of it"


@app.task(platform=True)
def is_nobodys(*_parts: Any) -> bool:
    return current_or_none() is None


@app.task(platform=True)
def hear(_task_id: str) -> bool:
    return current_or_none() is None


@signals.task_prerun.connect(weak=False)
def die_in_a_receiver(sender: Any, **_ignored: Any) -> None:
    if sender.name == die_in_set_up.name:
        raise RuntimeError("in a receiver")
