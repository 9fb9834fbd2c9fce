"""The supervisor over small programs: restarts, order, and the end of what a killed one left behind."""

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from controlplane.stack.console import Console
from controlplane.stack.errors import StackError
from controlplane.stack.predecessor import end_predecessor, record, sole_user
from controlplane.stack.process import Child, Program, start
from controlplane.stack.supervisor import Supervisor

DEADLINE_S = 20
STAYS = "import time; print('up', flush=True); time.sleep(600)"
IGNORES_SIGTERM = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {STAYS}"
HAS_A_CHILD = f"import subprocess, sys; subprocess.Popen((sys.executable, '-c', {STAYS!r})); {STAYS}"


def program(name: str, code: str, folder: Path, *, grace_s: float = 10) -> Program:
    return Program(
        name=name, command=(sys.executable, "-c", code), environment=dict(os.environ), folder=folder, grace_s=grace_s
    )


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


@pytest.fixture
def seen() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def supervisor(tmp_path: Path, seen: io.StringIO) -> Iterator[Supervisor]:
    supervisor = Supervisor(tmp_path, Console(seen))
    yield supervisor
    supervisor.kill()


def test_a_killed_program_is_started_again(supervisor: Supervisor, tmp_path: Path, seen: io.StringIO) -> None:
    supervisor.start(program("web", STAYS, tmp_path))
    first = supervisor.children["web"]
    until(lambda: "up" in seen.getvalue())
    first.process.kill()
    first.process.wait()
    supervisor.look()
    assert supervisor.children["web"].pid != first.pid
    until(lambda: seen.getvalue().count("up") == 2)
    assert "ended with status -9; starting it again" in seen.getvalue()


def test_a_program_that_keeps_ending_stops_the_supervisor(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start(program("web", "raise SystemExit(3)", tmp_path))
    for _restart in range(4):
        supervisor.children["web"].process.wait()
        supervisor.look()
    supervisor.children["web"].process.wait()
    with pytest.raises(StackError, match="web ended 5 times within a minute"):
        supervisor.look()


def test_servers_end_after_the_programs_that_use_them(
    supervisor: Supervisor, tmp_path: Path, seen: io.StringIO
) -> None:
    for name in ("object-store", "postgres"):
        supervisor.start_server(program(name, STAYS, tmp_path))
    for name in ("web", "sweeper"):
        supervisor.start(program(name, STAYS, tmp_path))
    supervisor.stop()
    stopped = [line.split("|")[0].strip() for line in seen.getvalue().splitlines() if line.endswith("stopped")]
    assert stopped == ["web", "sweeper", "object-store", "postgres"]
    assert supervisor.children == {}


def test_a_program_deaf_to_sigterm_is_killed_after_its_grace(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start_server(program("object-store", IGNORES_SIGTERM, tmp_path, grace_s=0.2))
    deaf = supervisor.children["object-store"]
    until(lambda: "up" in (tmp_path / "logs" / "object-store.log").read_text())
    supervisor.stop()
    assert deaf.process.returncode == -signal.SIGKILL


def test_children_of_a_program_end_with_it(supervisor: Supervisor, tmp_path: Path, seen: io.StringIO) -> None:
    supervisor.start(program("operations", HAS_A_CHILD, tmp_path))
    until(lambda: seen.getvalue().count("up") == 2)
    family = psutil.Process(supervisor.children["operations"].pid).children()
    supervisor.stop()
    gone, alive = psutil.wait_procs(family, timeout=DEADLINE_S)
    assert (len(gone), alive) == (1, [])


def test_a_failed_setup_is_an_error(supervisor: Supervisor, tmp_path: Path) -> None:
    assert supervisor.run_once(program("setup", "print('shown once')", tmp_path)) == "shown once\n"
    with pytest.raises(StackError, match="setup failed with status 1: there is no cluster"):
        supervisor.run_once(program("setup", "raise SystemExit('there is no cluster')", tmp_path))


def test_a_server_that_ends_early_shows_the_end_of_its_log(supervisor: Supervisor, tmp_path: Path) -> None:
    broken = Program(
        name="postgres",
        command=(sys.executable, "-c", "print('No space left on device'); raise SystemExit(1)"),
        environment=dict(os.environ),
        folder=tmp_path,
        ready=lambda: False,
        explain={"No space left on device": "The disk is full."},
    )
    supervisor.start_server(broken)
    with pytest.raises(StackError, match=r"(?s)ended with status 1\. The disk is full\..*No space left"):
        supervisor.wait_until_ready(["postgres"])


def left_behind(folder: Path) -> tuple[Child, psutil.Process]:
    """A recorded program that died alone, and the worker it left."""
    child = start(program("operations", HAS_A_CHILD, folder), output=folder / "log")
    until(lambda: (folder / "log").read_text().count("up") == 2)
    record(folder, [child])
    (worker,) = psutil.Process(child.pid).children()
    os.kill(child.pid, signal.SIGKILL)
    child.process.wait()
    return child, worker


def test_the_next_start_ends_what_a_killed_supervisor_left(tmp_path: Path) -> None:
    _child, worker = left_behind(tmp_path)
    assert end_predecessor(tmp_path) == ["operations"]
    worker.wait(DEADLINE_S)
    assert end_predecessor(tmp_path) == []


def test_a_recorded_number_that_is_somebody_elses_by_now_is_spared(tmp_path: Path) -> None:
    neighbour = start(program("web", STAYS, tmp_path), output=subprocess.DEVNULL)
    record(tmp_path, [neighbour])
    rows = (tmp_path / "processes.json").read_text()
    began = psutil.Process(neighbour.pid).create_time()
    (tmp_path / "processes.json").write_text(rows.replace(str(began), str(began - 60)))
    assert end_predecessor(tmp_path) == []
    assert neighbour.alive
    neighbour.kill()


def test_a_second_supervisor_over_the_same_data_is_refused(tmp_path: Path) -> None:
    refused = pytest.raises(StackError, match=f"process {os.getpid()}.*TENURE_FOLDER")
    with sole_user(tmp_path), refused, sole_user(tmp_path):
        pass
    with sole_user(tmp_path):  # free again
        pass
