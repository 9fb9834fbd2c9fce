"""Forks workers on request: each is a real process of its own, without the second that Django's start takes.

`python -m tests.crashes.zygote DOTTED.PATH.TO.WORKFLOWS` reads one JSON order a line and answers with one line.
"""

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import django
from django.conf import settings

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serve orders until the harness closes the pipe."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    django.setup()
    from django.utils.module_loading import import_string

    workflows = import_string(sys.argv[1])
    answer({"ready": True})
    for line in sys.stdin:
        order = json.loads(line)
        answer({"pid": fork(workflows, order)} if order["do"] == "fork" else {"status": wait(order)})


def answer(words: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


def fork(workflows: Any, order: dict[str, Any]) -> int:
    """One worker. It has no open connection to inherit: the zygote makes none."""
    if pid := os.fork():
        return pid
    status = 1
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)  # the answers' pipe is not for bodies that print
        work(workflows, order)
        status = 0
    finally:
        os._exit(status)


def work(workflows: Any, order: dict[str, Any]) -> None:
    """What a worker does: one wake-up, or one after the other until somebody ends it."""
    from django.db import InterfaceError, OperationalError, connection

    from provisioning.engine.drive import advance
    from provisioning.models import Queue

    settings.TENURE_LEASE_S = order["lease_s"]
    settings.TENURE_SELF_KILL = order["self_kill"]
    if shift := order["clock_shift_s"]:
        shift_clock(shift)
    point = order["dies_at"]
    if ":inside:" in point:
        die_inside(point)
    else:
        settings.TENURE_FAILPOINT = point
    if order["stops_at"]:
        stop_at(order["stops_at"])
    if order["report"]:
        report_calls(order["report"])
    known = {tuple(key): workflows[tuple(key)] for key in order["known"]} if order["known"] else workflows
    while True:
        try:
            for queue in Queue:
                advance(queue=queue, workflows=known, slice_s=order["slice_s"])
        except (OperationalError, InterfaceError):  # as a Celery task would fail; the next wake-up tries again
            connection.close()
        if not order["forever"]:
            return
        time.sleep(0.02)


def wait(order: dict[str, Any]) -> int | None:
    """How the worker ended, as subprocess says it: negative for a signal. None if it has not, in time."""
    until = time.monotonic() + order["within_s"]
    while time.monotonic() < until:
        pid, status = os.waitpid(order["pid"], os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    return None


def shift_clock(seconds: float) -> None:
    """This worker's wall clock is wrong."""
    truth = time.time
    time.time = lambda: truth() + seconds


def stop_at(point: str) -> None:
    """SIGSTOP at a boundary, so that the test can do something there; SIGCONT goes on.

    Once: a thawed worker may take up another run, and nobody would thaw it a second time there.
    """
    from provisioning.engine import drive, failpoint
    from provisioning.engine.failpoint import Moment

    reached, ahead = failpoint.reached, [point]

    def on_moment(moment: Moment, step: str, direction: str) -> None:
        if ahead and point == f"{'undo/' if direction == 'undo' else ''}{step}:{moment}":
            ahead.clear()
            os.kill(os.getpid(), signal.SIGSTOP)
        reached(moment, step, direction)

    setattr(drive, "reached", on_moment)  # noqa: B010  drive imported it by name


def die_inside(point: str) -> None:
    """`[undo/]step:inside:n:before|after`: SIGKILL around the n-th request that the body sends out."""
    step, _inside, number, side = point.rsplit(":", 3)

    def on_call(here: str, count: int, when: str) -> None:
        if (here, count, when) == (step, int(number), side):
            os.kill(os.getpid(), signal.SIGKILL)

    watch_calls(on_call)


def report_calls(path: str) -> None:
    """Write down each request that a body sends out, one line each: the step."""

    def on_call(here: str, _count: int, when: str) -> None:
        if when == "after":
            with open(path, "a") as report:  # noqa: PTH123  one write, appended whole
                report.write(f"{here}\n")

    watch_calls(on_call)


def watch_calls(on_call: Callable[[str, int, str], None]) -> None:
    """Look at what leaves the process between the start of a body and its end: SQL, S3, Valkey."""
    import botocore.httpsession
    import psycopg
    import redis

    from provisioning.engine import drive, failpoint
    from provisioning.engine.failpoint import Moment

    inside: dict[str, Any] = {"step": None, "count": 0}
    reached = failpoint.reached

    def on_moment(moment: Moment, step: str, direction: str) -> None:
        if moment == Moment.STARTED:
            inside.update(step=f"{'undo/' if direction == 'undo' else ''}{step}", count=0)
        if moment == Moment.BODY_DONE:
            inside["step"] = None
        reached(moment, step, direction)

    setattr(drive, "reached", on_moment)  # noqa: B010  drive imported it by name

    def watched(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            step = inside["step"]
            if step is None:
                return call(*args, **kwargs)
            inside["count"] += 1
            number = inside["count"]
            on_call(step, number, "before")
            result = call(*args, **kwargs)
            on_call(step, number, "after")
            return result

        return wrapper

    for owner, name in (
        (psycopg.Connection, "wait"),
        (botocore.httpsession.URLLib3Session, "send"),
        (redis.Redis, "execute_command"),
    ):
        setattr(owner, name, watched(getattr(owner, name)))


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
    main()
