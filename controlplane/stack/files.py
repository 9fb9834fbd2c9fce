"""Files and folders of the stack's data folder."""

import os
import shutil
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
MEMORY = Path("/dev/shm")  # noqa: S108  where Linux keeps files in memory
ENOUGH_BYTES = 4 * 1024**3


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all: a crash leaves the former content."""
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def let_others_pass(folder: Path) -> None:
    """Let other users reach what they may read below a folder, without letting them list the folders above it.

    Needed where the stack runs as root: PostgreSQL refuses root and runs as another user, who must get to its files.
    """
    for each in (folder, *folder.parents):
        mode = each.stat().st_mode
        if not mode & stat.S_IXOTH:
            each.chmod(mode | stat.S_IXGRP | stat.S_IXOTH)


def data_folder(given: Mapping[str, str]) -> Path:
    """Where `make run` keeps everything: TENURE_FOLDER, or `.tenure` in the checkout."""
    return Path(given.get("TENURE_FOLDER") or CHECKOUT / ".tenure").resolve()


def scratch_folder() -> Path:
    """A new folder for servers that live for one run of tests or of a benchmark; whoever asks removes it.

    In memory where there is room: a tenant is hundreds of small files, and a disk that is slow to create them would
    hide every other difference.
    """
    roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ENOUGH_BYTES
    return Path(tempfile.mkdtemp(prefix="tenure-", dir=MEMORY if roomy else None))
