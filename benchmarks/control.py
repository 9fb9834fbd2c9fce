"""A control plane for a benchmark: everything a first run sets up, and workers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import django

ROOT = Path(__file__).resolve().parent.parent
PATIENCE_S = 300


def furnish() -> None:
    """Set Django up, and everything `make run` sets up on a first run. Safe to call again over the same servers."""
    django.setup()
    from controlplane.stack.first_run import set_up

    set_up(lambda _said: None)


@contextmanager
def worker(*, processes: int) -> Iterator[None]:
    """A Celery worker of the operations queue, up before the body begins."""
    with celery("operations", processes=processes):
        wait_until_it_works()
        yield


@contextmanager
def celery(queue: str, *, processes: int) -> Iterator[subprocess.Popen[bytes]]:
    """A Celery worker of one queue, as `make run` starts them. It is there, and may still be starting."""
    options = ("-Q", f"tenure.{queue}", "-n", f"{queue}@%h", "--concurrency", str(processes), "--loglevel", "ERROR")
    words = ("-m", "celery", "-A", "controlplane", "worker", *options, "--without-gossip", "--without-mingle")
    with process(*words) as child:
        yield child


@contextmanager
def process(*words: str, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen([sys.executable, *words], cwd=ROOT, env={**os.environ, **variables}, stdout=sys.stderr)
    try:
        yield child
    finally:
        child.terminate()
        child.wait(60)


def wait_until_it_works() -> None:
    """One tenant through the whole workflow: the worker is up, its imports done and its connections open."""
    onboard("warm-up-")


def onboard(prefix: str, count: int = 1, plan: str = "standard") -> list[object]:
    """Accept `count` tenants and wait until all are active. Raises RuntimeError if one did not become so."""
    from provisioning import lifecycle
    from provisioning.models import Run
    from tenants.audit import Actor

    actor = Actor(kind="command", id="onboard", name="benchmark")
    stamp = f"{time.time_ns():x}"
    runs = [
        lifecycle.onboard(
            wish=lifecycle.TenantWish(slug=f"{prefix}{stamp}-{n}", name=f"Tenant {n}", plan=plan, principal="bench"),
            actor=actor,
            key=f"{prefix}{stamp}-{n}",
        ).pk
        for n in range(count)
    ]
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        states = list(Run.objects.filter(pk__in=runs).values_list("state", flat=True))
        if set(states) <= {"succeeded"}:
            return list(runs)
        if {"failed", "parked", "cancelled"} & set(states):
            break
        time.sleep(0.01)
    ended = Run.objects.filter(pk__in=runs).exclude(state="succeeded").values_list("state", "step", "error")
    raise RuntimeError(f"Not every tenant became active: {list(ended[:3])}")
