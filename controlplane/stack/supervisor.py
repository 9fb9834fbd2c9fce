"""Keeps a set of programs running: starts them in order, restarts one that ends, and ends all in order."""

import subprocess
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path

from controlplane.stack.console import Console
from controlplane.stack.errors import StackError
from controlplane.stack.predecessor import forget, record
from controlplane.stack.process import Child, Program
from controlplane.stack.process import start as start_program

RESTARTS = 5  # of one program within a minute, before the supervisor gives up
WINDOW_S = 60.0
WATCH_S = 0.5
MOST_LOG_BYTES = 20 * 1024**2  # looked at when a server starts: enough for weeks of a newcomer's machine


class Supervisor:
    """Programs by name. Servers write to log files, whose end is shown when one fails; the others to the console."""

    def __init__(self, folder: Path, console: Console) -> None:
        self.folder = folder
        self.console = console
        self.children: dict[str, Child] = {}
        self.servers: set[str] = set()
        self.ended_at: dict[str, deque[float]] = {}

    def start_server(self, program: Program) -> None:
        self.servers.add(program.name)
        self._start(program)

    def start(self, program: Program) -> None:
        self._start(program)

    def wait_until_ready(self, names: Iterable[str]) -> None:
        for name in names:
            self.children[name].wait_until_ready()

    def run_once(self, program: Program) -> str:
        """Run a program to its end; its error stream is shown as it comes. Returns its output.

        Raises StackError if it fails.
        """
        child = start_program(program, output=subprocess.PIPE, errors=subprocess.PIPE)
        self.children[program.name] = child
        record(self.folder, list(self.children.values()))
        output, errors = child.process.stdout, child.process.stderr
        if output is None or errors is None:
            raise AssertionError("both streams were asked for as pipes")
        complaints = self.console.follow(program.name, errors)
        with output:
            text = output.read().decode(errors="replace")
        status = child.process.wait()
        complaints.join()
        del self.children[program.name]
        if status != 0:
            said = self.console.last.get(program.name, "It said nothing.")
            raise StackError(f"{program.name} failed with status {status}: {said}")
        return text

    def watch(self) -> None:
        """Return never, unless by KeyboardInterrupt. Raises StackError if a program keeps ending."""
        while True:
            time.sleep(WATCH_S)
            self.look()

    def look(self) -> None:
        """Start again whatever ended. Raises StackError if it keeps ending."""
        for child in list(self.children.values()):
            if not child.alive:
                self._restart(child)

    def stop(self) -> None:
        """End Tenure's own processes side by side, then the servers one by one."""
        own = [child for name, child in self.children.items() if name not in self.servers]
        for child in own:
            child.ask_to_end()
        for child in own:
            self._end(child)
        for child in [child for name, child in self.children.items() if name in self.servers]:
            child.ask_to_end()
            self._end(child)
        forget(self.folder)

    def kill(self) -> None:
        """For somebody who presses Ctrl-C again. Servers other than PostgreSQL lose nothing by it."""
        for child in self.children.values():
            if child.program.name != "postgres":
                child.kill()
        if postgres := self.children.get("postgres"):
            postgres.stop(postgres.program.orphaned_with)
        self.children.clear()

    def _start(self, program: Program) -> None:
        if program.name in self.servers:
            child = start_program(program, output=self._log(program))
        else:
            child = start_program(program, output=subprocess.PIPE)
            if child.process.stdout is not None:
                self.console.follow(program.name, child.process.stdout)
        self.children[program.name] = child
        record(self.folder, list(self.children.values()))

    def _end(self, child: Child) -> None:
        child.end()
        self.console.say(child.program.name, "stopped")
        del self.children[child.program.name]

    def _restart(self, child: Child) -> None:
        """Raises StackError after too many restarts: then waiting longer will not help."""
        name, status = child.program.name, child.process.returncode
        child.kill()  # its own children, if it left any
        times = self.ended_at.setdefault(name, deque(maxlen=RESTARTS))
        times.append(time.monotonic())
        if len(times) == RESTARTS and times[-1] - times[0] < WINDOW_S:
            raise StackError(f"{name} ended {RESTARTS} times within a minute. {child.last_words()}")
        self.console.say(name, f"ended with status {status}; starting it again")
        self._start(child.program)

    def _log(self, program: Program) -> Path:
        logs = self.folder / "logs"
        logs.mkdir(mode=0o700, exist_ok=True)
        log = logs / f"{program.name}.log"
        if log.exists() and log.stat().st_size > MOST_LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))
        return log
