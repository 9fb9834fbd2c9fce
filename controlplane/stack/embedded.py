"""The three servers together: for tests and benchmarks as a context manager, for `make run` part by part."""

import fcntl
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from controlplane.stack import bootstrap
from controlplane.stack.credentials import Credentials, load_or_make
from controlplane.stack.errors import StackError
from controlplane.stack.object_store import object_store
from controlplane.stack.ports import HOST, Ports, free_ports
from controlplane.stack.postgres import bin_folder, postgres
from controlplane.stack.process import Child, Program
from controlplane.stack.process import start as start_program
from controlplane.stack.valkey import valkey


@dataclass(slots=True)
class Stack:
    """Running servers, by name: `postgres`, `valkey`, `object-store`. Ends them when left as a context manager."""

    folder: Path
    ports: Ports
    credentials: Credentials
    programs: dict[str, Program]
    parts: dict[str, Child]

    @property
    def environment(self) -> dict[str, str]:
        """The variables that settings.py reads, and that any process of Tenure needs to use these servers."""
        return environment(self.ports, self.credentials)

    @property
    def superuser_url(self) -> str:
        """PostgreSQL's superuser, for looking into a server from outside; no process of Tenure uses it."""
        return bootstrap.superuser_url("postgres", self.ports, self.credentials)

    def restart(self, name: str, *, by: signal.Signals | None = None) -> None:
        """End one part, with the signal given (SIGQUIT: PostgreSQL's immediate shutdown), and start it again."""
        self.end(name, by=by)
        self.begin(name)

    def end(self, name: str, *, by: signal.Signals | None = None) -> None:
        self.parts.pop(name).stop(by)

    def begin(self, name: str) -> None:
        self.parts[name] = _start(self.programs[name], self.folder)
        self.parts[name].wait_until_ready()

    def stop(self) -> None:
        """End all parts, those that write nothing first. May be called again."""
        for name in ("object-store", "valkey", "postgres"):
            if name in self.parts:
                self.end(name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


def start(folder: Path, *, ports: Ports | None = None, durable: bool = True) -> Stack:
    """Start PostgreSQL, Valkey and the object store over the data in `folder`, and wait until all three answer.

    Free ports are chosen where none are given. Without `durable` PostgreSQL does not wait for the disk: for tests.
    The servers die with the calling process, however it ends (Linux); call this from a thread that lives as long.
    """
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    ports = ports or free_ports()
    credentials = load_or_make(folder)
    programs = {each.name: each for each in (valkey(folder, ports), object_store(folder, ports, credentials))}
    stack = Stack(folder, ports, credentials, programs, {})
    try:
        for name, program in programs.items():  # they come up while initdb runs
            stack.parts[name] = _start(program, folder)
        programs["postgres"] = postgres(folder, ports, credentials, durable=durable)
        stack.parts["postgres"] = _start(programs["postgres"], folder)
        stack.parts["postgres"].wait_until_ready()
        bootstrap.bootstrap(ports, credentials)
        for part in stack.parts.values():
            part.wait_until_ready()
    except BaseException:
        stack.stop()
        raise
    return stack


def environment(ports: Ports, credentials: Credentials) -> dict[str, str]:
    """The variables under which Tenure's processes find the embedded servers."""

    def database(role: str, name: str) -> str:
        return f"postgresql://{role}:{getattr(credentials, role)}@{HOST}:{ports.postgres}/{name}"

    return {
        "DATABASE_URL": database("tenure_control", bootstrap.CONTROL),
        "DATABASE_OWNER_URL": database("tenure_owner_control", bootstrap.CONTROL),
        "DIRECTORY_URL": database("tenure_directory", bootstrap.CONTROL),
        "KEYRING_URL": database("tenure_control", bootstrap.KEYRING),
        "KEYRING_OWNER_URL": database("tenure_owner_control", bootstrap.KEYRING),
        "CLUSTER_URL": database("tenure_provisioner", bootstrap.CLUSTER),
        "PG_BIN": str(bin_folder()),
        "BROKER_URL": f"redis://{HOST}:{ports.valkey}/0",
        "CACHE_URL": f"redis://{HOST}:{ports.valkey}/1",
        "S3_ENDPOINT_URL": f"http://{HOST}:{ports.s3}",
        "AWS_ACCESS_KEY_ID": credentials.access_key_id,
        "AWS_SECRET_ACCESS_KEY": credentials.secret_access_key,
        "AWS_DEFAULT_REGION": "us-east-1",
        "SECRET_KEY": credentials.secret_key,
        "TENURE_MASTER_KEY": credentials.master_key,
    }


@contextmanager
def sole_user(folder: Path) -> Iterator[None]:
    """Hold the data folder while inside. Raises StackError if another process does; the lock dies with its holder."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StackError(f"Tenure already runs over {folder}. Stop it, or set TENURE_FOLDER to another.") from error
        yield


def _start(program: Program, folder: Path) -> Child:
    logs = folder / "logs"
    logs.mkdir(exist_ok=True)
    return start_program(program, output=logs / f"{program.name}.log")
