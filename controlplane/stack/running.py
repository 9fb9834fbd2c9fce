"""How a command in another terminal finds the stack that `make run` keeps: a private file beside its data."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from controlplane.stack.files import data_folder, write_private

FILE_NAME = "environment.json"
# Beside what the embedded servers need: what else was said to `make run` that changes what a command does.
PREFIXES = ("TENURE_", "TENANT_", "S3_", "AWS_")


def announce(folder: Path, environment: Mapping[str, str], *, servers: Mapping[str, str]) -> None:
    """Leave the variables of the running stack for `adopt`."""
    kept = {name: value for name, value in environment.items() if name in servers or name.startswith(PREFIXES)}
    write_private(folder / FILE_NAME, json.dumps(kept, indent=2))


def withdraw(folder: Path) -> None:
    (folder / FILE_NAME).unlink(missing_ok=True)


def adopt() -> None:
    """Take the running stack's variables where the environment names no database: `manage.py` then simply works.

    All or nothing: a database of one stack with the keyring of another would be worse than an error.
    """
    if os.environ.get("DATABASE_URL"):
        return
    path = data_folder(os.environ) / FILE_NAME
    if path.exists():
        os.environ.update(json.loads(path.read_text()))
