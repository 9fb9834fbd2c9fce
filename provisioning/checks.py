"""System checks of the verbs that need the control database: `manage.py check --database default`."""

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error
from django.db import DEFAULT_DB_ALIAS, connection

from provisioning.engine.findings import unlisted

TABLE = "provisioning_run"  # missing before the first migration, which runs these checks too


def versions_in_use_are_listed(*, databases: Sequence[str] | None, **_options: Any) -> list[CheckMessage]:
    """provisioning.E001: a deploy must not drop a workflow's version while a run of it is open."""
    from provisioning.workflows import WORKFLOWS

    if DEFAULT_DB_ALIAS not in (databases or ()) or TABLE not in connection.introspection.table_names():
        return []
    return [
        Error(
            f"{number} open operations need version {version} of workflow {name!r}, which WORKFLOWS does not list.",
            hint="Keep it listed in provisioning/workflows until they have ended.",
            id="provisioning.E001",
        )
        for name, version, number in unlisted(WORKFLOWS)
    ]
