"""Who migrates a scratch database: Django in a process of its own, or we, file by file. The release says which."""

from typing import Any

from provisioning.databases import recording, sqlfiles
from provisioning.databases.recording import Progress
from provisioning.models import Release

Keys = list[tuple[str, str]]
Told = list[tuple[str, dict[str, Any]]]


def record(url: str, release: Release, progress: Progress) -> list[dict[str, Any]]:
    """Migrate the empty schema named by the release's placeholder, as the owner role.

    Returns a dict per migration, in order (see RecordedMigration). Raises MigrationFailed, which names the migration.
    """
    schema = release.placeholder
    if release.files:
        return sqlfiles.record(url, schema=schema, release=release, progress=progress)
    return recording.record(url, schema=schema, tenant_apps=release.apps, progress=progress)


def walked(  # noqa: PLR0917  two ends and the ground between them
    url: str, source: Release, target: Release, wanted: Keys, kept: list[list[str]], progress: Progress
) -> Told:
    """Take the copy of `source` in the schema named by the target's placeholder to `target`; both of one kind.

    `wanted` are the target's migrations, `kept` the rows of django_migrations that they leave. Returns events as
    walker.py tells them. Raises MigrationFailed, which names the migration.
    """
    schema = target.placeholder
    if target.files:
        return sqlfiles.walk(url, source, target, schema=schema, progress=progress)
    return recording.told(
        "walker",
        url,
        schema=schema,
        tenant_apps=[*target.apps, *(app for app in source.apps if app not in target.apps)],
        progress=progress,
        wanted=[list(key) for key in wanted],
        kept=kept,
    )
