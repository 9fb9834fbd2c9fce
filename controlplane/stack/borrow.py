"""`python -m controlplane.stack.borrow COMMAND …`: run one command against throw-away servers, ready in a second."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from controlplane.stack.embedded import start


def main(command: list[str]) -> int:
    """Returns the command's exit status."""
    with tempfile.TemporaryDirectory(prefix="tenure-") as folder, start(Path(folder), durable=False) as stack:
        return subprocess.run(command, check=False, env={**os.environ, **stack.environment}).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
