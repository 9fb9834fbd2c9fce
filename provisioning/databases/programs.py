"""Our programs that run Django in a tenant's place: each in a process of its own, spoken to by its streams."""

import os
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

from django.conf import settings

import provisioning

PYTHON = [sys.executable]
"""What they are started with."""


def started(program: str, *, complaints: IO[Any]) -> subprocess.Popen[str]:
    """`provisioning.databases.<program>`, with everything importable that is so here. Ended by whoever started it."""
    return subprocess.Popen(
        (*PYTHON, "-m", f"provisioning.databases.{program}"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=complaints,
        text=True,
        cwd=Path(provisioning.__file__).parent.parent,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


def installed_with(tenant_apps: list[str]) -> list[str]:
    """What such a program installs: everything that is so here, and the tenant's apps."""
    return [*settings.INSTALLED_APPS, *(app for app in tenant_apps if app not in settings.INSTALLED_APPS)]
