"""The three servers together: for tests and benchmarks as a context manager, for `make run` part by part."""

import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from controlplane.stack import bootstrap
from controlplane.stack.credentials import Credentials, load_or_make
from controlplane.stack.object_store import object_store
from controlplane.stack.ports import HOST, Ports, free_ports
from controlplane.stack.postgres import bin_folder, postgres
from controlplane.stack.process import Child, Program
from controlplane.stack.process import start as start_program
from controlplane.stack.valkey import valkey

# In the order of starting, so that two come up while PostgreSQL makes its files, and of ending, so that those go first
# which lose nothing.
SERVERS: dict[str, Callable[[Path, Ports, Credentials, bool], Program]] = {
    "object-store": lambda folder, ports, credentials, _durable: object_store(folder, ports, credentials),
    "valkey": lambda folder, ports, _credentials, _durable: valkey(folder, ports),
    "postgres": lambda folder, ports, credentials, durable: postgres(folder, ports, credentials, durable=durable),
}


@dataclass(slots=True)
class Stack:
    """Running servers, by name: `postgres`, `valkey`, `object-store`. Ends them when left as a context manager."""

    folder: Path
    ports: Ports
    credentials: Credentials
    durable: bool = True
    programs: dict[str, Program] = field(default_factory=dict)
    parts: dict[str, Child] = field(default_factory=dict)

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
        """End all parts, in order where the data is to last and at once where it is not. May be called again."""
        for name in list(self.parts):
            self.end(name, by=None if self.durable else self.programs[name].orphaned_with)

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
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    stack = Stack(folder, ports or free_ports(), load_or_make(folder), durable)
    try:
        for name, build in SERVERS.items():
            stack.programs[name] = build(folder, stack.ports, stack.credentials, durable)
            stack.parts[name] = _start(stack.programs[name], folder)
        for part in stack.parts.values():
            part.wait_until_ready()
        bootstrap.bootstrap(stack.ports, stack.credentials)
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
        "VERIFIER_URL": database("tenure_control_verifier", bootstrap.CONTROL),
        "KEYRING_VERIFIER_URL": database("tenure_control_verifier", bootstrap.KEYRING),
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
        "TENURE_CONTEXT_SECRET": credentials.context_secret,
    }


def _start(program: Program, folder: Path) -> Child:
    logs = folder / "logs"
    logs.mkdir(mode=0o700, exist_ok=True)
    return start_program(program, output=logs / f"{program.name}.log")
