"""`make run`: everything on one machine, from nothing to a page, and in order to an end."""

import errno
import math
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

import psutil

from controlplane.stack import bootstrap, programs
from controlplane.stack.console import Console
from controlplane.stack.credentials import load_or_make
from controlplane.stack.embedded import SERVERS
from controlplane.stack.embedded import environment as server_variables
from controlplane.stack.errors import StackError
from controlplane.stack.ports import is_free, what_is_missing
from controlplane.stack.predecessor import end_predecessor, sole_user
from controlplane.stack.running import announce, withdraw
from controlplane.stack.supervisor import Supervisor
from controlplane.stack.variables import Choice, choose

FIRST_START_BYTES = 256 * 1024**2  # PostgreSQL's first files, its log of changes, and room to move
LATER_START_BYTES = 64 * 1024**2
WORKS_WITHIN_S = 90


def main() -> int:
    console = Console()
    interrupt = _interrupt_once_a_second()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # SIGHUP: the terminal was closed
        signal.signal(number, interrupt)
    try:
        choice = choose()
        with sole_user(choice.folder):
            run(choice, Supervisor(choice.folder, console))
    except StackError as error:
        console.print(f"\nTenure stopped: {error}")
        return 1
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        console.print("\nTenure stopped: the disk is full. Free some space and start again; no data is lost.")
        return 1
    except KeyboardInterrupt:
        pass  # asked for and done
    return 0


def run(choice: Choice, supervisor: Supervisor) -> None:
    """Start, show where everything is, and stay until Ctrl-C."""
    console = supervisor.console
    for name in end_predecessor(choice.folder):
        console.say("tenure", f"ended {name}, which an earlier start had left running")
    _check_room(choice)
    _check_ports(choice)
    try:
        announcement = start(choice, supervisor)
        console.print(f"\n{announcement}")
        supervisor.watch()
    except KeyboardInterrupt:
        console.print("\nStopping; press Ctrl-C again to stop at once.")
        raise
    finally:
        withdraw(choice.folder)
        _stop(supervisor)


def start(choice: Choice, supervisor: Supervisor) -> str:
    """Servers, then databases, then Tenure's own processes. Returns what an operator needs to know."""
    say = supervisor.console.say
    credentials = load_or_make(choice.folder)
    servers = [name for name in SERVERS if name in choice.servers]
    for name in servers:
        supervisor.start_server(SERVERS[name](choice.folder, choice.ports, credentials, True))
    supervisor.wait_until_ready(servers)
    for name in servers:
        say(name, f"ready; its log is {choice.folder / 'logs' / name}.log")
    if "postgres" in servers:
        bootstrap.bootstrap(choice.ports, credentials)
    environment = choice.environment(credentials)
    if len(servers) < len(SERVERS) or "BROKER_URL" in choice.given or "CACHE_URL" in choice.given:
        from controlplane.stack.reach import check_servers

        check_servers(choice, environment)
    announce(choice.folder, environment, servers=server_variables(choice.ports, credentials))
    news = supervisor.run_once(programs.setup(environment))
    try:
        own = programs.programs(choice, credentials, environment)
        for program in own:
            supervisor.start(program)
        supervisor.wait_until_ready(program.name for program in own)
        _wait_until_it_works(choice)
    except BaseException:
        supervisor.console.print(news)  # the password and key of a first run are shown once: now or never
        raise
    return f"{news}{_ready(choice)}"


def _wait_until_it_works(choice: Choice) -> None:
    """Return once the control plane says that it lacks nothing. Raises StackError with what it lacks."""
    until = time.monotonic() + WORKS_WITHIN_S
    while missing := what_is_missing(choice.ports.web):
        if time.monotonic() > until:
            raise StackError("The control plane lacks something:\n  " + "\n  ".join(missing))
        time.sleep(0.25)


def _ready(choice: Choice) -> str:
    web = f"http://localhost:{choice.ports.web}"
    tenants = f"http://<slug>.localhost:{choice.ports.application}/"
    elsewhere = f"by a process of yours; its TENURE_API_KEY is in {choice.application_key_file}"
    return "\n".join(
        (
            "Tenure is ready.",
            f"  Admin      {web}/admin/",
            f"  API        {web}/api/v1/docs",
            f"  Readiness  {web}/readyz",
            f"  Tenants    {tenants if choice.application else elsewhere}",
            f"  Data       {choice.folder} (`make clean` removes it)",
            "Ctrl-C stops everything.",
        )
    )


def _check_room(choice: Choice) -> None:
    free = shutil.disk_usage(choice.folder).free
    needed = LATER_START_BYTES if (choice.folder / "credentials.json").exists() else FIRST_START_BYTES
    if choice.servers and free < needed:
        raise StackError(
            f"Only {free // 1024**2} MB are free at {choice.folder}, and {needed // 1024**2} MB are needed. "
            "Free some space, or set TENURE_FOLDER to a folder on another disk."
        )


def _check_ports(choice: Choice) -> None:
    for part, ports in choice.ports.named.items():
        if part in SERVERS and part not in choice.servers:
            continue
        for port in ports:
            if not is_free(port):
                raise StackError(
                    f"Port {port}, which {part} needs, is taken by {_holder(port)}. Stop that program, or choose "
                    f"another base for all ports: TENURE_PORT={choice.ports.base + 1000} make run"
                )


def _holder(port: int) -> str:
    with suppress(psutil.Error):
        for connection in psutil.net_connections(kind="tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return f"process {connection.pid} ({psutil.Process(connection.pid).name()})"
    return "another program"


def _stop(supervisor: Supervisor) -> None:
    try:
        supervisor.stop()
    except KeyboardInterrupt:
        supervisor.kill()


def _interrupt_once_a_second() -> Callable[[int, FrameType | None], None]:
    """A terminal and a wrapper such as `timeout` may both pass one Ctrl-C on: two at once are one."""
    last = -math.inf

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal last
        before, last = last, time.monotonic()
        if last - before > 1:
            raise KeyboardInterrupt

    return interrupt


if __name__ == "__main__":
    sys.exit(main())
