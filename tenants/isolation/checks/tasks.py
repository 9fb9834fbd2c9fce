"""The application's own Celery app, where it has one: whether its tasks are tenants', and its messages JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from importlib import import_module
from threading import Lock
from typing import Any

from django.core.checks import Error

TASKS = "tenants.isolation.tasks"
BASE = f"{TASKS}:TenantTask"

_importing = Lock()


def celery_apps() -> list[Any]:
    """Those of this process. A project without Celery has none, and it is not imported to find that out."""
    if "celery" not in sys.modules:
        return []
    found: Iterable[Any] = import_module("celery._state")._get_active_apps()  # noqa: SLF001  Celery lists them nowhere else
    return sorted((app for app in found if not _is_fallback(app)), key=lambda app: str(app.main))


def tasks_are_tenants(found: Iterable[Any] | None = None, **_options: Any) -> Iterator[Error]:
    """tenants.E007: tasks that would run without a scope, or be sent without one."""
    for app in celery_apps() if found is None else found:
        if not _imported(app):
            return
        seam = _seam()
        if not issubclass(app.Task, seam.TenantTask):
            yield Error(
                f"Celery app {app.main!r}: its task class is not TenantTask, so its tasks run for nobody.",
                hint=f'Make it Celery("{app.main or "…"}", task_cls="{BASE}").',
                id="tenants.E007",
            )
            continue
        for name in seam.foreign_tasks(app):
            yield Error(
                f"Celery task {name} is no TenantTask, and runs without a scope.",
                hint="Take `base=` away from it, or derive that from TenantTask. For work that belongs to no tenant set"
                " `platform = True`.",
                id="tenants.E007",
            )
        for entry in seam.beat_of_nobody(app):
            yield Error(
                f"beat_schedule[{entry!r}] would be sent outside of any scope, and so refused.",
                hint="Schedule a task with `platform = True` that opens each tenant's scope and sends from there.",
                id="tenants.E007",
            )


def tasks_are_json(found: Iterable[Any] | None = None, **_options: Any) -> Iterator[Error]:
    """tenants.E008: a pickled message runs code of whoever can write to the broker."""
    for app in celery_apps() if found is None else found:
        for kind in _seam().beyond_json(app):
            yield Error(
                f"Celery app {app.main!r} takes or sends {kind} beside JSON.",
                hint='Set accept_content = ["json"], task_serializer = "json" and result_serializer = "json".',
                id="tenants.E008",
            )


def _imported(app: Any) -> bool:
    """Import what autodiscover_tasks() was told to find; False while that is being done.

    Celery itself runs Django's checks then (celery.fixups.django), so the check would call itself.
    """
    if not _importing.acquire(blocking=False):
        return False
    try:
        app.loader.import_default_modules()
    finally:
        _importing.release()
    return True


def _seam() -> Any:
    """Imported by name: it connects to Celery's signals, which the control plane's own workers must never do."""
    return import_module(TASKS)


def _is_fallback(app: Any) -> bool:
    """The app that Celery makes for code that asks for one where the project has none."""
    return bool(app.main == "default" and type(app.loader).__module__ == "celery.loaders.default")
