"""`make bench NAME=onboarding`: how long it takes to make a tenant, against django-tenants and against plain SQL.

One embedded stack, one run. Wagtail 8 is the tenant application: django-tenants by migrating and by its clone, plain
SQL (a `pg_dump` of a finished tenant, replayed under another name in one transaction), our database step in both tiers,
and ours from `POST` to active over HTTP with Celery workers. Then 100 tenants of the example application, with 1 and 2
worker processes. The variants that are compared closely take turns, so that a drift of the machine meets all alike.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from tqdm import tqdm

from benchmarks import report, wagtail
from controlplane.stack import embedded

ROOT = Path(__file__).resolve().parent.parent
MIGRATED, CLONED, TURNS, POSTED, FLEET = 2, 5, 15, 15, 100


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, embedded.start(Path(folder)) as stack:
        bar = tqdm(total=6, desc="onboarding", unit="part", disable=None)

        def measured(what: str, module: str, *words: str, **variables: str) -> dict[str, list[float]]:
            bar.set_description(what)
            figures = run(stack, module, *words, **variables)
            tqdm.write(f"{what}: {figures}", file=sys.stderr)
            bar.update()
            return figures

        with peer(stack) as url:
            migrated = measured("django-tenants migrates", "peer.creating", str(MIGRATED), "m", **url)["seconds"]
            cloned = measured("django-tenants clones", "peer.creating", str(CLONED), "c", **url, PEER_BASE="m0")[
                "seconds"
            ]
        apps = {"TENANT_APPS": ",".join(wagtail.APPS)}
        steps = measured("database steps", "onboarding_steps", str(TURNS), **apps)
        posted = measured("POST to active", "onboarding_posts", str(POSTED), **apps)["seconds"]
        one = measured("100 tenants, 1 worker", "onboarding_fleet", str(FLEET), "1")["seconds"]
        two = measured("100 tenants, 2 workers", "onboarding_fleet", str(FLEET), "2")["seconds"]
        bar.close()

    report.table(
        "One tenant, Wagtail 8 (51 tables)",
        {
            "django-tenants, migrating": migrated,
            "django-tenants, clone": cloned,
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
            "clone_vs_schema_step": report.ratio(cloned, steps["schema"]),
            "migrate_vs_schema_step": report.ratio(migrated, steps["schema"]),
            "database_step_vs_schema_step": report.ratio(steps["database"], steps["schema"]),
            "migrate_vs_post_to_active": report.ratio(migrated, posted),
            "tenants_per_second": round(FLEET / two[0], 2),
            "tenants_per_second_1_worker": round(FLEET / one[0], 2),
        }
    )


def run(stack: embedded.Stack, module: str, *words: str, **variables: str) -> dict[str, list[float]]:
    """One part in a process of its own, since settings are one a process. Its last line is JSON."""
    environment = {**os.environ, **stack.environment, "DJANGO_SETTINGS_MODULE": "controlplane.settings", **variables}
    command = [sys.executable, "-m", f"benchmarks.{module}", *words]
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return figures


@contextmanager
def peer(stack: embedded.Stack) -> Iterator[dict[str, str]]:
    """A database for the django-tenants project, on the same server; its clone function needs a superuser."""
    with psycopg.connect(stack.superuser_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE peer")
        url = stack.superuser_url.rsplit("/", 1)[0] + "/peer"
        yield {"PEER_URL": url, "DJANGO_SETTINGS_MODULE": "benchmarks.peer.settings"}
        connection.execute("DROP DATABASE peer WITH (FORCE)")


if __name__ == "__main__":
    main()
