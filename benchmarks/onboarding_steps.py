"""Part of the onboarding benchmark: our database step in both tiers, and its rivals, in turns. Prints JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
from psycopg import sql

from benchmarks import control
from controlplane.stack.postgres import bin_folder

WARM = 2


def main(turns: int, migrations: int) -> None:
    control.furnish()
    script, name = plain_script(os.environ["CLUSTER_URL"], our_step("schema")[1])
    with peer() as migrate:
        seconds = {"migrating": [migrate(f"m{number}") for number in range(migrations)]}
    with peer(PEER_BASE="m0") as clone:
        variants: dict[str, Callable[[], float]] = {
            "plain": lambda: plain_replay(script, name),
            "schema": lambda: our_step("schema")[0],
            "database": lambda: our_step("database")[0],
            "clone": lambda: clone(f"c{uuid4().hex}"),
        }
        rounds = [{what: create() for what, create in variants.items()} for _turn in range(turns + WARM)][WARM:]
    seconds |= {what: [each[what] for each in rounds] for what in variants}
    print(json.dumps(seconds))


@contextmanager
def peer(**variables: str) -> Iterator[Callable[[str], float]]:
    """The django-tenants project in a process of its own: give it a schema's name, and it says how long it took."""
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "benchmarks.peer.settings", **variables}
    command = [sys.executable, "-m", "benchmarks.peer.creating"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, text=True, bufsize=1, stdin=pipe, stdout=pipe) as child:
        asked, answers = child.stdin, child.stdout
        assert asked is not None
        assert answers is not None

        def create(name: str) -> float:
            asked.write(f"{name}\n")
            return float(answers.readline())

        yield create
        asked.close()


def our_step(tier: str) -> tuple[float, str]:
    """The "create database" step of one tenant: seconds, and the schema's name."""
    from provisioning.databases.clusters import reserve
    from provisioning.models import Claim, Resource, ResourceKind
    from provisioning.workflows.onboard import ONBOARD
    from provisioning.workflows.resources import PROVIDERS, plan_resources
    from tenants.models import Plan, Tenant

    slug = f"step-{uuid4().hex[:12]}"
    plan = Plan.objects.get(tier=tier)
    tenant = Tenant.objects.create(slug=slug, name=slug, principal="bench", plan=plan, region="local")
    reserve(tenant, tier)
    context = tenant.context()
    plan_resources(context)
    handle = Resource.objects.of(tenant.pk, ResourceKind.DATABASE).handle
    claim = Claim(run_id=uuid4(), fence=1, token=ONBOARD.name)
    before = time.perf_counter()
    PROVIDERS[ResourceKind.DATABASE].provision(context, handle, claim=claim)
    return time.perf_counter() - before, context.schema


def plain_script(url: str, schema: str) -> tuple[str, str]:
    """What `pg_dump` says of a finished tenant, as statements that any client can send, and the name to replace."""
    dumped = subprocess.run(
        [
            *(str(Path(bin_folder()) / "pg_dump"), "--no-owner", "--no-privileges", "--rows-per-insert=1000"),
            *("--schema", schema, "--dbname", url),
        ],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    kept = [
        line for line in dumped.splitlines() if not line.startswith(("--", "\\", "SET ", "SELECT pg_catalog.set_c"))
    ]
    return "\n".join(kept), schema


def plain_replay(script: str, name: str) -> float:
    """The script under another name, in one transaction over an open connection."""
    with psycopg.connect(os.environ["CLUSTER_URL"], autocommit=True) as connection:
        text = script.replace(name, f"plain_{uuid4().hex}")
        before = time.perf_counter()
        with connection.transaction():
            connection.execute(sql.SQL(text))
        return time.perf_counter() - before


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
