"""Keep a claim alive while its steps run, and end this process before anybody else may take the claim over."""

import os
import signal
import time
from datetime import timedelta
from threading import Event, Thread
from types import TracebackType
from typing import Self

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.db.models.functions import Now

from provisioning.engine.fence import lease_s
from provisioning.models import Run

SELF_KILL_AT = 0.8  # of the lease: the rest is for requests already on their way


def boot_clock() -> float:
    """Seconds since boot, those of a suspended machine's sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lease:
    """Two threads beside the driving one. The first renews over a connection of its own; the second does no I/O.

    `sent` is the boot clock's time just before the claim was sent: the lease is counted from there, never later.
    A step past its timeout is renewed no more, so a hang ends as a crash does.
    """

    def __init__(self, run: Run, *, sent: float) -> None:
        self._pk, self._fence, self._seconds = run.pk, run.fence, lease_s()
        self._renewed = sent
        self._allowed_until = sent + self._seconds
        self._closed, self._released, self._taken = Event(), Event(), Event()
        self._threads = [Thread(target=target, daemon=True) for target in (self._renew, self._watch)]

    def expect(self, timeout: timedelta) -> None:
        """A body begins that may take this long."""
        self._allowed_until = boot_clock() + timeout.total_seconds()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closed.set()
        for thread in self._threads:
            thread.join(self._seconds)

    def _renew(self) -> None:
        pause = self._seconds / 3
        try:
            while not (self._closed.wait(pause) or self._released.is_set() or self._taken.is_set()):
                if boot_clock() < self._allowed_until:
                    pause = self._renew_once()
        finally:
            connection.close()

    def _renew_once(self) -> float:
        """One renewal. Returns how long to wait before the next: less when PostgreSQL did not answer."""
        sent = boot_clock()
        try:
            mine = Run.objects.filter(pk=self._pk, fence=self._fence)
            if mine.filter(lease_until__isnull=False).update(lease_until=Now() + timedelta(seconds=self._seconds)):
                self._renewed = sent
            else:
                (self._released if mine.exists() else self._taken).set()
        except (DatabaseError, InterfaceError):
            connection.close()
            return self._seconds / 15
        return self._seconds / 3

    def _watch(self) -> None:
        while not self._closed.wait(self._seconds / 50) and not self._released.is_set():
            # What was released a moment ago may have been claimed already, and its driver is about to leave.
            taken = self._taken.is_set() and not self._closed.wait(self._seconds / 10)
            if taken or boot_clock() - self._renewed > SELF_KILL_AT * self._seconds:
                end_this_process()
                return


def end_this_process() -> None:
    """Nothing softer is safe: the body may be anywhere, and another worker is about to begin."""
    if getattr(settings, "TENURE_SELF_KILL", True):
        os.write(2, b"tenure: the lease is lost, this worker ends itself\n")
        os.kill(os.getpid(), signal.SIGKILL)
