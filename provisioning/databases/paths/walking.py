"""Walk a copy of one release to another in a scratch database, and look where it ends."""

from dataclasses import dataclass, field
from typing import Any

from django.apps import AppConfig

from provisioning.databases.fingerprint import shape
from provisioning.databases.migrating import walked
from provisioning.databases.paths.acts import Step, step_of
from provisioning.databases.paths.trial import arrived, pooled, replayed
from provisioning.databases.pooling.errors import CannotPool
from provisioning.databases.pooling.trial import Refusal, row
from provisioning.databases.recording import MigrationFailed, Progress
from provisioning.databases.replay import replay
from provisioning.databases.servers import Connection, ServerUnavailable
from provisioning.models import Release

Rows = list[dict[str, Any]]
Keys = list[tuple[str, str]]

_LOST = ("OperationalError", "InterfaceError")  # Django's names of errors that may pass
_MEND = "Correct the migration, and record the path again."
_GONE = "Keep its migrations where they are: they are what takes its tables away again, one release at a time."
_OTHER_KIND = "Move each tenant's rows from an installation of the one kind to one of the other."
_NOT_INSTALLED = "Install it, or choose another release."


@dataclass(slots=True)
class Walk:
    """What became of it: the fields of a ReleasePath, and the rows that post_migrate added to the copy."""

    steps: list[Step] = field(default_factory=list)
    pool_migrations: list[dict[str, Any]] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    pool_refusals: list[Refusal] = field(default_factory=list)
    added: Rows = field(default_factory=list)

    @property
    def arrived(self) -> bool:
        return not self.refusals

    def fields(self, rows: Rows) -> dict[str, Any]:
        """Of a ReleasePath; a refused one keeps nothing that could be replayed."""
        return {
            "migrations": [step.row() for step in self.steps] if self.arrived else [],
            "pool_migrations": self.pool_migrations,
            "rows": rows if self.arrived else [],
            "refusals": self.refusals,
            "pool_refusals": self.pool_refusals,
        }


def walk(  # noqa: PLR0917  two ends and the ground between them
    connection: Connection, url: str, source: Release, target: Release, wanted: Keys, progress: Progress
) -> Walk:
    """In the scratch database of `url`, where the schema named by the target's placeholder is not there yet.

    `wanted` are the target's migrations. Refusals are in what it returns. Raises ServerUnavailable, psycopg errors.
    """
    if refusals := _not_walked(source, target, wanted):
        return Walk(refusals=refusals)
    with connection.transaction():
        replay(connection, source, target.placeholder)
    try:
        made = _made(walked(url, source, target, wanted, _applied(target), progress))
    except MigrationFailed as error:
        if any(word in str(error) for word in _LOST):
            raise ServerUnavailable(str(error)) from error
        return Walk(refusals=[{"statement": "", "reason": str(error), "instead": _MEND}])
    except CannotPool as refusal:
        return Walk(refusals=[row(refusal)])
    progress(len(made.steps), len(made.steps), "trying the path")
    return _tried(connection, source, target, made)


def _tried(connection: Connection, source: Release, target: Release, made: Walk) -> Walk:
    if made.refusals:
        return made
    made.refusals = arrived(source, target, shape(connection, target.placeholder))
    made.refusals = made.refusals or replayed(connection, source, target, made.steps)
    if made.arrived:
        made.pool_migrations, made.pool_refusals = pooled(connection, source, target, made.steps)
    return made


def _made(events: list[tuple[str, dict[str, Any]]]) -> Walk:
    """Raises CannotPool."""
    made = Walk()
    for kind, event in events:
        match kind:
            case "migrated" | "unapplied":
                made.steps.append(step_of(event, unapply=kind == "unapplied"))
            case "refused":
                made.refusals.append(event)
            case "rows":
                made.added = event["rows"]
            case _:
                pass
    return made


def _not_walked(source: Release, target: Release, wanted: Keys) -> list[Refusal]:
    """What needs no trying to know."""
    if bool(source.files) != bool(target.files):
        reason = f"One of {source} and {target} is made of SQL files, the other by Django's migrations."
        return [{"statement": "", "reason": reason, "instead": _OTHER_KIND}]
    gone = {app for app, _name in keys_of(source)} - {app for app, _name in wanted}
    if gone and source.created_at < target.created_at:
        reason = f"{target} has no migrations of {', '.join(sorted(gone))}, whose tables {source} has."
        return [{"statement": "", "reason": reason, "instead": _GONE}]
    missing = [app for app in {*source.apps, *target.apps} if not _is_installed(app)]
    return [{"statement": "", "reason": f"{app} is not installed.", "instead": _NOT_INSTALLED} for app in missing]


def _is_installed(entry: str) -> bool:
    try:
        AppConfig.create(entry)
    except ImportError:
        return False
    return True


def keys_of(release: Release) -> Keys:
    """Its migrations, in the order in which they were recorded."""
    return list(release.migrations.order_by("position").values_list("app", "name"))


def _applied(release: Release) -> list[list[str]]:
    """The rows of django_migrations that its tenants have."""
    for table in release.seed:
        if table["table"] == "django_migrations":
            places = [table["columns"].index(name) for name in ("app", "name")]
            return [[line.split("\t")[place] for place in places] for line in table["copy"].split("\n") if line]
    return []
