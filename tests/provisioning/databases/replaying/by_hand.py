"""Paths written by hand: from what publishing recorded of the later release's migrations."""

from __future__ import annotations

from typing import Any

from provisioning.databases import pooling
from provisioning.databases.replaying import rows
from provisioning.models import Release, ReleasePath

KINDS = {"schema": "ddl", "data": "dml"}


def path(source: Release, target: Release, **more: Any) -> ReleasePath:
    """Forwards, for every tier."""
    known = set(source.migrations.values_list("app", "name"))
    new = [each for each in target.migrations.order_by("position") if (each.app, each.name) not in known]
    return ReleasePath.objects.create(
        source=source,
        target=target,
        migrations=[_migration(each, pooled=False) for each in new],
        pool_migrations=[_migration(each, pooled=True) for each in new],
        rows=[table for name in (rows.TYPES, rows.PERMISSIONS) for table in _new_rows(name, source, target)],
        **more,
    )


def _migration(recorded: Any, *, pooled: bool) -> dict[str, Any]:
    acts = [act for operation in recorded.operations for act in _acts(operation, pooled=pooled)]
    return {"app": recorded.app, "name": recorded.name, "atomic": recorded.atomic, "replaces": [], "acts": acts}


def _acts(operation: dict[str, Any], *, pooled: bool) -> list[dict[str, Any]]:
    about = {name: operation[name] for name in ("position", "operation", "description")}
    if operation["operation"] == "RunPython":
        return [{"kind": "python", "text": "", **about}]
    kind = KINDS[operation["kind"]]
    texts = [pooling.compiled(text) if pooled and kind == "ddl" else text for text in operation["statements"]]
    return [{"kind": kind, "text": text, **about} for text in texts if text]


def _new_rows(name: str, source: Release, target: Release) -> list[dict[str, Any]]:
    """Of a table: what the later release begins with and the earlier one does not. By their ids, which do not move."""
    before = {line for table in source.seed if table["table"] == name for line in table["copy"].splitlines()}
    return [
        {**table, "rows": len(new), "copy": "\n".join(new) + "\n"}
        for table in target.seed
        if table["table"] == name and (new := [line for line in table["copy"].splitlines() if line not in before])
    ]
