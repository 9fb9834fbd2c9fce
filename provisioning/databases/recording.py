"""Start the recorder in a process of its own and collect what it tells. See recorder.py for why it is one."""

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from psycopg.conninfo import conninfo_to_dict

from provisioning.databases.ddl import OWNER
from provisioning.databases.programs import installed_with, started
from provisioning.databases.recorder import Job
from provisioning.errors import Permanent

Progress = Callable[[int, int, str], None]
"""Called with steps done, steps in all, and what is being done now."""
UNCONNECTED = {name: f"{name}.apps.Unconnected" for name in ("controlplane", "provisioning")}
"""The control plane's own apps as a program installs them that only migrates."""


class MigrationFailed(Permanent):
    """A migration of the tenant application failed on an empty database."""

    code = "RELEASE_MIGRATION_FAILED"
    cure = "Correct the migration, check it with `manage.py migrate` on an empty database, and publish again."


def record(url: str, *, schema: str, tenant_apps: list[str], progress: Progress) -> list[dict[str, Any]]:
    """Migrate `tenant_apps` into the empty `schema` of the database in `url`, as the owner role.

    Returns a dict per migration, in order: app, name, atomic, replaces, operations (see RecordedMigration).
    Raises MigrationFailed, which names the migration.
    """
    events = told("recorder", url, schema=schema, tenant_apps=tenant_apps, progress=progress)
    return [event for kind, event in events if kind == "migrated"]


def told(
    program: str,
    url: str,
    *,
    schema: str,
    tenant_apps: list[str],
    progress: Progress,
    **more: Any,
) -> list[tuple[str, dict[str, Any]]]:
    """What one of our programs that run Django in the database of `url` told, in order: each event and its kind.

    `more` goes into its Job. Raises MigrationFailed, which names the place.
    """
    job = Job(
        settings_module=os.environ["DJANGO_SETTINGS_MODULE"],
        installed_apps=[UNCONNECTED.get(app, app) for app in installed_with(tenant_apps)],
        tenant_apps=tenant_apps,
        database=database_of(url),
        schema=schema,
        role=OWNER,
        **more,
    )
    events: list[tuple[str, dict[str, Any]]] = []
    at = "starting Django"
    with tempfile.TemporaryFile("w+") as complaints:
        with started(program, complaints=complaints) as process:
            assert process.stdin is not None  # noqa: S101  for the type checker: both are pipes
            assert process.stdout is not None  # noqa: S101
            process.stdin.write(json.dumps(asdict(job)))  # not an argument: it holds the password
            process.stdin.close()
            for line in process.stdout:
                event = json.loads(line)
                if (kind := event.pop("event")) == "begins":
                    at = event["migration"]
                    progress(event["done"], event["total"], at)
                else:
                    events.append((kind, event))
        if process.returncode != 0:
            complaints.seek(0)
            raise MigrationFailed(f"{at}: {last_line(complaints.read())}", migration=at)
    return events


def database_of(url: str) -> dict[str, Any]:
    """The parts of a Django DATABASES entry."""
    parts = conninfo_to_dict(url)
    names = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
    entry: dict[str, Any] = {name: str(parts.pop(part, None) or "") for name, part in names.items()}
    parts.pop("options", None)
    return {**entry, "OPTIONS": parts}


def last_line(text: str) -> str:
    """The error itself: a traceback ends with it. PostgreSQL's DETAIL lines after it are left out, they quote rows."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith(("DETAIL:", "LINE ", "^", "CONTEXT:", "HINT:"))]
    return said[-1] if said else "the process ended without a word"
