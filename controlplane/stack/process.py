"""Start, watch and end one child process of the stack."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from controlplane.stack.errors import StackError

POLL_S = 0.02
PR_SET_PDEATHSIG = 1  # linux/prctl.h
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def always_ready() -> bool:
    return True


def nothing_to_do() -> None:
    return


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """What to run, how to tell that it is ready, and how to end it. Times are in seconds."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path
    user: str | None = None
    stop_with: signal.Signals = signal.SIGTERM
    grace_s: float = 10.0
    # Sent by the kernel when the starting process dies, however it dies, so that no server outlives its supervisor.
    orphaned_with: signal.Signals = signal.SIGKILL
    prepare: Callable[[], None] = nothing_to_do  # before every start, also after a crash
    tidy: Callable[[], None] = nothing_to_do  # after every end
    ready: Callable[[], bool] = always_ready
    ready_within_s: float = 30.0
    # Turns the program's last words into a message with a cure, where the program's own are not enough.
    explain: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Child:
    """A running program."""

    program: Program
    process: subprocess.Popen[bytes]
    log: Path | None

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def wait_until_ready(self) -> None:
        """Return once the program answers. Raises StackError if it ended first or took too long."""
        until = time.monotonic() + self.program.ready_within_s
        while not self.program.ready():
            if not self.alive:
                raise StackError(
                    f"{self.program.name} ended with status {self.process.returncode}. {self.last_words()}"
                )
            if time.monotonic() > until:
                waited = self.program.ready_within_s
                raise StackError(f"{self.program.name} did not answer within {waited:.0f} s. {self.last_words()}")
            time.sleep(POLL_S)

    def ask_to_end(self, signal_number: signal.Signals | None = None) -> None:
        if self.alive:
            self.process.send_signal(signal_number or self.program.stop_with)

    def end(self) -> None:
        """Wait for the program that was asked to end; kill what is left of its process group after its grace period."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(self.program.grace_s)
        self.kill()

    def kill(self) -> None:
        """Kill the whole process group: a leader that died alone may have left workers behind."""
        end_group(self.pid)
        self.process.wait()
        self.program.tidy()

    def stop(self, signal_number: signal.Signals | None = None) -> None:
        self.ask_to_end(signal_number)
        self.end()

    def last_words(self, lines: int = 12) -> str:
        if self.log is None or not self.log.exists():
            return "Its output is above."
        tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        for sign, cure in self.program.explain.items():
            if sign in tail:
                return f"{cure}\n{tail}"
        return f"The end of {self.log}:\n{tail}"


def start(program: Program, *, output: Path | int, errors: int = subprocess.STDOUT) -> Child:
    """Start a program in a session of its own, so that Ctrl-C in a terminal reaches the supervisor alone.

    `output` is a log file, which is appended to, or what `subprocess.Popen` accepts; errors go there too, unless said.
    """
    program.prepare()
    log = output if isinstance(output, Path) else None
    stream = output.open("ab") if isinstance(output, Path) else output
    try:
        process = subprocess.Popen(
            program.command,
            cwd=program.folder,
            env=dict(program.environment),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=errors,
            start_new_session=True,
            user=program.user,
            group=program.user,
            extra_groups=None if program.user is None else (),
            # Runs after the change of user, which would clear it; two system calls, no locks.
            preexec_fn=_leash(program.orphaned_with),  # noqa: PLW1509
        )
    except OSError as error:
        raise StackError(f"{program.name} cannot be started from {program.command[0]}: {error.strerror}.") from error
    finally:
        if not isinstance(stream, int):
            stream.close()
    return Child(program, process, log)


def end_group(leader: int) -> None:
    """Kill what is left of a process group that we made."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # macOS reports a group of zombies as not permitted
        return


def _leash(signal_number: signal.Signals) -> Callable[[], None] | None:
    if LIBC is None:
        return None  # other systems rely on the record of started processes, see predecessor.py
    prctl, parent, number = LIBC.prctl, os.getpid(), int(signal_number)

    def leash() -> None:
        prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
        if os.getppid() != parent:  # the parent died between the fork and the call
            os.kill(os.getpid(), number)

    return leash
