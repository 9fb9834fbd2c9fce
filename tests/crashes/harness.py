"""Real workers that die, freeze and come back: kill one, let its lease lapse, drive on with another.

    with Workers("provisioning.workflows.WORKFLOWS") as workers:
        run = …                                             # start it
        assert workers.fork(dies_at="create bucket:started").wait() == KILLED
        lapse()                                             # its lease ends
        assert workers.fork().wait() == 0                   # another worker finishes

The lease of a dying worker is long, so that the other runs of a test are left alone until `lapse()`.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from provisioning.engine.failpoint import Moment
from provisioning.engine.workflow import Workflow
from provisioning.models import Run
from tests import databases

KILLED = -signal.SIGKILL
LONG_AGO = "2000-01-01T00:00Z"
BOUNDARIES = (Moment.STARTED, Moment.BODY_DONE, Moment.BEFORE_RECORD, Moment.AFTER_RECORD)


def boundaries(workflow: Workflow) -> list[str]:
    """Each boundary of each step's do, as `dies_at` wants it."""
    return [f"{workflow.steps[0].name}:{Moment.CLAIMED}"] + [
        f"{step.name}:{moment}" for step in workflow.steps for moment in BOUNDARIES
    ]


def undo_boundaries(workflow: Workflow) -> list[str]:
    """Each boundary of each undo before the pivot, the first to be undone first."""
    names = [step.name for step in before_pivot(workflow) if step.undo]
    return [f"undo/{name}:{moment}" for name in reversed(names) for moment in BOUNDARIES]


def before_pivot(workflow: Workflow) -> list[Any]:
    """The steps that can be undone."""
    names = [step.pivot for step in workflow.steps]
    return list(workflow.steps[: names.index(True)] if True in names else workflow.steps)


def lapse() -> None:
    """The leases of dead workers end, and what waits is due: time passes in the rows."""
    Run.objects.filter(lease_until__isnull=False).update(lease_until=LONG_AGO)
    Run.objects.filter(state__in=["queued", "running"], lease_until=None).update(run_at=LONG_AGO)


def wait_for(condition: Callable[[], bool], *, within_s: float = 30) -> None:
    """Until a row, or the world, is as the test wants it."""
    until = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.01)


@dataclass(frozen=True)
class Worker:
    """A forked process that drives runs."""

    pid: int
    of: "Workers"

    def wait(self, *, within_s: float = 60) -> int:
        """How it ended: 0, or minus the signal."""
        status = self.of.ask({"do": "wait", "pid": self.pid, "within_s": within_s})["status"]
        assert status is not None, "the worker did not end in time"
        self.of.alive.discard(self)
        return int(status)

    def kill(self) -> int:
        os.kill(self.pid, signal.SIGKILL)
        return self.wait()

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def wait_until_frozen(self) -> None:
        wait_for(lambda: psutil.Process(self.pid).status() == psutil.STATUS_STOPPED)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


class Workers:
    """Forks workers of one table of workflows; the table is named by its dotted path."""

    def __init__(self, workflows: str) -> None:
        self._command = (sys.executable, "-m", "tests.crashes.zygote", workflows)
        self.alive: set[Worker] = set()

    def __enter__(self) -> Self:
        environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "controlplane.settings"}
        self._zygote = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        assert self._answer() == {"ready": True}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._zygote.kill()  # and the kernel its workers
        self._zygote.communicate()

    def fork(
        self,
        *,
        dies_at: str = "",
        stops_at: str = "",
        lease_s: float = 600,
        self_kill: bool = True,
        forever: bool = False,
        slice_s: float = 60,
        known: list[tuple[str, int]] | None = None,
        clock_shift_s: float = 0,
        report: Path | None = None,
    ) -> Worker:
        """One worker: for one wake-up, or `forever`. `dies_at` is `[undo/]step:moment`, `…:inside:n:before|after`.

        `stops_at` freezes it at such a boundary instead, the first time it comes there.
        """
        order = {
            "do": "fork",
            "dies_at": dies_at,
            "stops_at": stops_at,
            "lease_s": lease_s,
            "self_kill": self_kill,
            "forever": forever,
            "slice_s": slice_s,
            "known": known,
            "clock_shift_s": clock_shift_s,
            "report": str(report or ""),
        }
        worker = Worker(self.ask(order)["pid"], self)
        self.alive.add(worker)
        return worker

    def end_all(self) -> None:
        """No worker of one test may meet the runs of the next."""
        for worker in list(self.alive):
            worker.kill()

    def drive_all(self, *, turns: int = 20) -> None:
        """Wake-ups and time until nothing goes on by itself."""
        for _turn in range(turns):
            lapse()
            assert self.fork().wait() == 0
            if not Run.objects.filter(state__in=["queued", "running"]).exists():
                return
        raise AssertionError("the runs do not come to rest")

    def calls_of(self, report: Path) -> Counter[str]:
        """How many requests each step sends out in an undisturbed drive of whatever is runnable."""
        assert self.fork(report=report).wait() == 0
        return Counter(report.read_text().splitlines()) if report.exists() else Counter()

    def ask(self, order: dict[str, Any]) -> dict[str, Any]:
        databases.close_all()  # an idle session of ours must not look like a worker's
        assert self._zygote.stdin is not None
        self._zygote.stdin.write(json.dumps(order) + "\n")
        self._zygote.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._zygote.stdout is not None
        line = self._zygote.stdout.readline()
        assert line, "the zygote died"
        answer: dict[str, Any] = json.loads(line)
        return answer
