"""`make bench NAME=onboarding`: how long it takes to make a tenant, against django-tenants and against plain SQL.

One embedded stack, one run. Wagtail 8 is the tenant application: django-tenants by migrating and by its clone, plain
SQL (a `pg_dump` of a finished tenant, replayed under another name in one transaction), our database step in both tiers,
and ours from `POST` to active over HTTP with Celery workers. Then 100 tenants of the example application, with 1 and 2
worker processes. The variants that are compared closely take turns, so that a drift of the machine meets all alike.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from tqdm import tqdm

from benchmarks import report, wagtail
from controlplane.stack import embedded
from controlplane.stack.files import scratch_folder

ROOT = Path(__file__).resolve().parent.parent
TURNS, MIGRATED, POSTED, FLEET = 15, 3, 15, 100


def main() -> None:
    with servers() as stack:
        bar = tqdm(total=4, desc="onboarding", unit="part", disable=None)

        def measured(what: str, module: str, *words: str, **variables: str) -> dict[str, list[float]]:
            bar.set_description(what)
            figures = run(stack, module, *words, **variables)
            tqdm.write(f"{what}: {figures}", file=sys.stderr)
            bar.update()
            return figures

        apps = {"TENANT_APPS": ",".join(wagtail.APPS)}
        with peer_database(stack) as url:
            steps = measured("creating, in turns", "onboarding_steps", str(TURNS), str(MIGRATED), **apps, PEER_URL=url)
        posted = measured("POST to active", "onboarding_posts", str(POSTED), **apps)["seconds"]
        one = measured("100 tenants, 1 worker", "onboarding_fleet", str(FLEET), "1")["seconds"]
        two = measured("100 tenants, 2 workers", "onboarding_fleet", str(FLEET), "2")["seconds"]
        bar.close()

    report.table(
        "One tenant, Wagtail 8 (51 tables)",
        {
            "django-tenants, migrating": steps["migrating"],
            "django-tenants, clone": steps["clone"],
            "plain SQL replay": steps["plain"],
            "our database step, schema tier": steps["schema"],
            "our database step, database tier": steps["database"],
            "ours, from POST to active": posted,
        },
    )
    report.table("100 tenants, the example application", {"1 worker": one, "2 workers": two}, unit="s")
    report.line(
        {
            "schema_step_vs_plain_sql": report.ratio(steps["schema"], steps["plain"]),
            "clone_vs_schema_step": report.ratio(steps["clone"], steps["schema"]),
            "migrate_vs_schema_step": report.ratio(steps["migrating"], steps["schema"]),
            "database_step_vs_schema_step": report.ratio(steps["database"], steps["schema"]),
            "migrate_vs_post_to_active": report.ratio(steps["migrating"], posted),
            "tenants_per_second": round(FLEET / two[0], 2),
            "tenants_per_second_1_worker": round(FLEET / one[0], 2),
        }
    )


@contextmanager
def servers(*, durable: bool = True) -> Iterator[embedded.Stack]:
    """A stack of the benchmark's own, as durable as a real one unless said otherwise."""
    folder = scratch_folder()
    with embedded.start(folder, durable=durable) as stack:
        yield stack
    shutil.rmtree(folder)


def run(stack: embedded.Stack, module: str, *words: str, **variables: str) -> dict[str, Any]:
    """One part in a process of its own, since settings are one a process. Its last line is JSON."""
    environment = {**os.environ, **stack.environment, "DJANGO_SETTINGS_MODULE": "controlplane.settings", **variables}
    command = [sys.executable, "-m", f"benchmarks.{module}", *words]
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


@contextmanager
def peer_database(stack: embedded.Stack) -> Iterator[str]:
    """A database for the django-tenants project, on the same server; its clone function needs a superuser."""
    with psycopg.connect(stack.superuser_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE peer")
        yield stack.superuser_url.rsplit("/", 1)[0] + "/peer"
        connection.execute("DROP DATABASE peer WITH (FORCE)")


if __name__ == "__main__":
    main()
