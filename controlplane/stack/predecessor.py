"""One supervisor per data folder, and the end of what an earlier one left running when it was killed."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from controlplane.stack.errors import StackError
from controlplane.stack.files import write_private
from controlplane.stack.process import Child

FILE_NAME = "processes.json"
CLOCK_SLACK_S = 1.0  # psutil computes start times from the boot time, which it rounds


@contextmanager
def sole_user(folder: Path) -> Iterator[None]:
    """Hold the data folder while inside. Raises StackError if another process does; the lock dies with its holder."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise StackError(
                f"Tenure already runs over {folder}, as process {lock.read() or 'unknown'}. "
                "Stop that one, or set TENURE_FOLDER and TENURE_PORT to run a second one beside it."
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def record(folder: Path, children: list[Child]) -> None:
    """Note which processes are ours by number and start time, since numbers are used again."""
    rows = []
    for child in children:
        with suppress(psutil.NoSuchProcess):
            rows.append(
                {"name": child.program.name, "pid": child.pid, "began": psutil.Process(child.pid).create_time()}
            )
    write_private(folder / FILE_NAME, json.dumps(rows))


def forget(folder: Path) -> None:
    """After an orderly end, when there is nobody left to find."""
    (folder / FILE_NAME).unlink(missing_ok=True)


def end_predecessor(folder: Path) -> list[str]:
    """Kill what the recorded processes left running, workers of theirs included. Returns the names of what ran.

    The kernel ends most of them with their supervisor (Linux); this is for their own children and for other systems.
    """
    path = folder / FILE_NAME
    try:
        rows = json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):  # none, or a full disk left it empty
        return []
    found = {row["name"]: _left_of(row["pid"], row["began"]) for row in rows}
    # PostgreSQL gets a proper shutdown instead, from postgres.py.
    left = [process for name, processes in found.items() if name != "postgres" for process in processes]
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=5)
    forget(folder)
    return [name for name, processes in found.items() if processes]


def _left_of(leader: int, began: float) -> list[psutil.Process]:
    """The living members of the session that `leader` began, unless the number belongs to somebody else by now."""
    try:
        if abs(psutil.Process(leader).create_time() - began) > CLOCK_SLACK_S:
            return []
    except psutil.NoSuchProcess:
        pass  # its members may live on; the system gives the number to nobody while they do
    left = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, ProcessLookupError, PermissionError):
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                left.append(process)
    return left
