"""Start `twins` for one package: the servers are the test session's, the control database a fresh copy."""

import json
import os
import re
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from controlplane.stack.embedded import Stack
from tests import databases, pools

Told = dict[str, dict[str, dict[str, Any]]]
"""By tier, by tenant: what its story told, chapter by chapter."""


_NAMES = re.compile(r"(?:acme|globex)-(?:pool|schema|database)", re.IGNORECASE)


def told(stack: Stack, package: str) -> Told:
    """Raises AssertionError with what the program said when it failed."""
    databases.load(stack, "migrated")
    apps: tuple[str, ...] = import_module(package).APPS
    variables = {
        **os.environ,
        **stack.environment,
        "DJANGO_SETTINGS_MODULE": "controlplane.settings",
        "TENANT_APPS": ",".join(apps),
    }
    if find_spec(f"{package}.settings") is not None:
        variables["TENANT_SETTINGS"] = f"{package}.settings"
    with pools.none_left(stack):
        ran = subprocess.run(
            (sys.executable, "-m", "tests.applications.twins", package),
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    assert ran.returncode == 0, ran.stderr[-10_000:]
    answer: Told = json.loads(ran.stdout)
    return answer


def without_names(story: Any) -> Any:
    """A story with its tenant's slug taken out, so that two can be compared."""
    return json.loads(_NAMES.sub("…", json.dumps(story)))
