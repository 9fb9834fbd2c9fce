"""Part of the isolation benchmark: the rivals side by side, each a process, taking turns in small rounds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import psycopg
from psycopg import sql

from benchmarks import isolation_rows
from benchmarks.isolation_flights import counted
from controlplane.stack.ports import HOST

ROOT = Path(__file__).resolve().parent.parent
ROLE = "rival"
PASSWORD = "only-for-a-benchmark"  # noqa: S105
SCHEMA = "shop"
TIMES = {"read1": 12, "read10": 4, "list": 8, "list_atomic": 8, "insert1": 8, "insert10": 4, "update1": 8, "join5": 8}
WARM_ROUNDS = 2
GENERATIONS = 15  # where a process lies in memory makes it faster or slower by a tenth: each rival begins anew

Seconds = dict[str, dict[str, list[float]]]
"""By rival and operation: the middle of each round."""


@dataclass(frozen=True, slots=True)
class Rival:
    """Whose settings, what its process is told of itself, and the port by which it reaches its server.

    `database` names that of a peer. What is ours is told where its rows are with its credentials.
    """

    settings: str
    given: Mapping[str, Any]
    port: int
    database: str = ""
    limits: bool = False
    prepares: bool = False

    @property
    def variables(self) -> dict[str, str]:
        url = f"postgresql://{ROLE}:{PASSWORD}@{HOST}:{self.port}/{self.database}"
        mine = {"DJANGO_SETTINGS_MODULE": f"benchmarks.rivals.{self.settings}", "RIVAL_URL": url}
        how = {"RIVAL_LIMITS": str(self.limits), "RIVAL_PREPARES": str(self.prepares)}
        return {**os.environ, **mine, **how}


@contextmanager
def running(rival: Rival) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "benchmarks.isolation_rival"]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=ROOT, env=rival.variables, text=True, bufsize=1, stdin=pipe, stdout=pipe
    ) as child:
        assert child.stdin is not None
        child.stdin.write(json.dumps({**rival.given, "port": rival.port}) + "\n")
        yield child
        child.stdin.close()


def asked(child: subprocess.Popen[str], operation: str, times: int) -> list[float]:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(f"{operation} {times}\n")
    answer: list[float] = json.loads(child.stdout.readline())
    return answer


def take_turns(rivals: Mapping[str, Rival], rounds: int, tick: Callable[[], object]) -> Seconds:
    """Each round asks all rivals for an operation before the next operation, beginning with another rival each time."""
    seconds: Seconds = {name: {operation: [] for operation in TIMES} for name in rivals}
    for generation in range(GENERATIONS):
        with ExitStack() as stack:
            children = {name: stack.enter_context(running(rival)) for name, rival in rivals.items()}
            names = list(children)
            for number in range(WARM_ROUNDS + len(range(generation, rounds, GENERATIONS))):
                names = [*names[1:], names[0]]
                middles = one_round(children, names)
                if number >= WARM_ROUNDS:
                    for name, operation, middle in middles:
                        seconds[name][operation].append(middle)
                    tick()
    return seconds


def one_round(children: Mapping[str, subprocess.Popen[str]], names: Sequence[str]) -> list[tuple[str, str, float]]:
    """Every operation of all, in this order: name, operation, and the middle of its seconds."""
    return [
        (name, operation, median(asked(children[name], operation, times)))
        for operation, times in TIMES.items()
        for name in names
    ]


def count_flights(rivals: Mapping[str, Rival], port: int) -> dict[str, dict[str, int]]:
    """How many round trips each operation takes once a rival's connection is open, by counting between the two."""
    flights: dict[str, dict[str, int]] = {}
    with counted(port) as counter:
        for name, rival in rivals.items():
            with running(replace(rival, port=counter.port)) as child:
                flights[name] = {}
                for operation in TIMES:
                    asked(child, operation, 2)
                    # What is sent in two parts may be answered in two, though nobody waited for the first.
                    flights[name][operation] = min(
                        counter.during(partial(asked, child, operation, 1)) for _turn in range(5)
                    )
    return flights


def prepare_peers(superuser_url: str, port: int, several: int) -> tuple[Rival, Rival, Rival]:
    """Plain Django with one tenant's rows, and with those of several; and django-tenants.

    Each is migrated by its own command into a database of its own.
    """
    plain = Rival("plain", {"plain": True}, port, "rival_plain")
    crowded = Rival("plain", {"plain": True, "several": several}, port, "rival_crowded")
    schemas = Rival("schemas", {"schema": SCHEMA}, port, "rival_schemas")
    with psycopg.connect(superuser_url, autocommit=True) as superuser:
        role = sql.Identifier(ROLE)
        superuser.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(PASSWORD)))
        for rival in (plain, crowded, schemas):
            superuser.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(rival.database), role))
    for rival in (plain, crowded):
        _command(rival, "django", "migrate", "--verbosity", "0")
    _command(schemas, "benchmarks.peer.creating", said=f"{SCHEMA}\n")
    for rival, schema, rows in ((plain, "public", 1), (crowded, "public", several), (schemas, SCHEMA, 1)):
        with psycopg.connect(superuser_url.rsplit("/", 1)[0] + f"/{rival.database}", autocommit=True) as superuser:
            isolation_rows.fill(superuser, schema, several=rows)
    return plain, crowded, schemas


def _command(rival: Rival, module: str, *words: str, said: str = "") -> None:
    command = [sys.executable, "-m", module, *words]
    subprocess.run(command, cwd=ROOT, env=rival.variables, input=said, text=True, check=True, stdout=sys.stderr)
