"""What has been published is history: tenants have run it, and a release is a copy of it."""

from collections.abc import Iterable

from provisioning.databases.sqlfiles.errors import FileChanged, FileGone, FileOutOfOrder
from provisioning.databases.sqlfiles.folder import SqlFile
from provisioning.models import Release, ReleasePath


def files_of(release: Release) -> list[SqlFile]:
    """In order."""
    return [SqlFile(**each) for each in release.files]


def refuse_rewritten(files: list[SqlFile]) -> None:
    """Compare with all that is published. Raises FileChanged, FileGone or FileOutOfOrder.

    Files may go from the end, which is the way back, and ways back may be written and changed at any time.
    """
    texts = {file.name: file.up for file in files}
    for name, published in _published():
        if changed := [file.name for file in published if texts.get(file.name, file.up) != file.up]:
            raise FileChanged(f"{changed[0]}.sql is not what it was in the release {name}.")
    if (current := Release.objects.filter(current=True).exclude(files=[]).first()) is None:
        return
    former = {file.name for file in files_of(current)}
    kept = [file for file in files_of(current) if file.name in texts]
    if not kept:
        return
    last = kept[-1]
    if gone := [file.name for file in files_of(current) if file.name not in texts and file.number < last.number]:
        raise FileGone(f"{gone[0]}.sql is in the release {current}, and is not there any more.")
    if early := [file.name for file in files if file.name not in former and file.number < last.number]:
        raise FileOutOfOrder(f"{early[0]}.sql is new and stands before {last.name}.sql, which is published.")


def ways_back(files: Iterable[SqlFile]) -> dict[str, str | None]:
    """The newest text that takes each file back, whichever release brought it; None where none did."""
    found = {file.name: file.down for file in files}
    waiting = set(found)
    for _name, published in _published():
        for file in published:
            if file.name in waiting and file.down is not None:
                found[file.name] = file.down
                waiting.remove(file.name)
        if not waiting:
            break
    return found


def forget_refused() -> None:
    """Paths that were refused are tried again when they are asked for: a way back may be there by now."""
    ReleasePath.objects.exclude(refusals=[]).exclude(source__files=[]).delete()


def _published() -> Iterable[tuple[str, list[SqlFile]]]:
    """Names and files of releases, the newest first."""
    releases = Release.objects.filter(state=Release.State.PUBLISHED).exclude(files=[]).order_by("-published_at")
    for name, files in releases.values_list("name", "files"):
        yield name, [SqlFile(**each) for each in files]
