"""Part of the onboarding benchmark: our database step in both tiers, and plain SQL replay, in turns. Prints JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import psycopg
from psycopg import sql

from benchmarks import control
from controlplane.stack.postgres import bin_folder

WARM = 2


def main(turns: int) -> None:
    control.furnish()
    seconds: dict[str, list[float]] = {"plain": [], "schema": [], "database": []}
    script, name = plain_script(our_step("schema")[1])
    for turn in range(turns + WARM):
        for what, spent in (
            ("plain", plain_replay(script, name)),
            ("schema", our_step("schema")[0]),
            ("database", our_step("database")[0]),
        ):
            if turn >= WARM:
                seconds[what].append(spent)
    print(json.dumps(seconds))


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
    plan_resources(tenant)
    context = tenant.context()
    handle = Resource.objects.of(tenant.pk, ResourceKind.DATABASE).handle
    claim = Claim(run_id=uuid4(), fence=1, token=ONBOARD.name)
    before = time.perf_counter()
    PROVIDERS[ResourceKind.DATABASE].provision(context, handle, claim=claim)
    return time.perf_counter() - before, context.schema


def plain_script(schema: str) -> tuple[str, str]:
    """What `pg_dump` says of a finished tenant, as statements that any client can send, and the name to replace."""
    dumped = subprocess.run(
        [
            *(str(Path(bin_folder()) / "pg_dump"), "--no-owner", "--no-privileges", "--rows-per-insert=1000"),
            *("--schema", schema, "--dbname", os.environ["CLUSTER_URL"]),
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
    main(int(sys.argv[1]))
