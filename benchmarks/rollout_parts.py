"""The rollout benchmark's processes of ours: parts that prepare a fleet, and one that drives rollouts over it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from benchmarks import ledger
from benchmarks.onboarding import ROOT, run
from controlplane.stack import embedded

Ask = Callable[..., dict[str, float]]


def published(stack: embedded.Stack, apps: tuple[str, ...], release: str) -> dict[str, Any]:
    return part(stack, apps, "rollout_publish", LEDGER=release)


def part(stack: embedded.Stack, apps: tuple[str, ...], module: str, *words: str, **variables: str) -> dict[str, Any]:
    """A process of ours. Whoever makes tenants has the first release's code; see LEDGER."""
    return run(stack, module, *words, **{"LEDGER": ledger.FIRST, **ours(apps), **variables})


def ours(apps: tuple[str, ...]) -> dict[str, str]:
    return {"TENANT_APPS": ",".join((*apps, ledger.APP)), "DJANGO_SETTINGS_MODULE": "benchmarks.ledger.settings"}


@contextmanager
def driven(stack: embedded.Stack, apps: tuple[str, ...]) -> Iterator[Ask]:
    """Fresh worker processes, warm, and somebody who asks them for rollouts."""
    command, pipe = [sys.executable, "-m", "benchmarks.rollout_driver"], subprocess.PIPE
    environment = {**os.environ, **stack.environment, **ours(apps), "LEDGER": ledger.DATA}
    with subprocess.Popen(command, cwd=ROOT, env=environment, text=True, bufsize=1, stdin=pipe, stdout=pipe) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdout.readline()

        def ask(**asked: Any) -> dict[str, float]:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write(json.dumps(asked) + "\n")
            answer: dict[str, float] = json.loads(child.stdout.readline())
            tqdm.write(f"{asked}: {answer}", file=sys.stderr)
            return answer

        yield ask
        child.stdin.close()
