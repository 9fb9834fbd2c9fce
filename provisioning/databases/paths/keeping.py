"""The path between two releases: recorded when it is first asked for, and kept."""

from hashlib import sha256
from typing import Any

from provisioning.databases.fitness import prepare_cluster
from provisioning.databases.layout import sole
from provisioning.databases.paths.walking import Rows, Walk, keys_of, walk
from provisioning.databases.recording import Progress
from provisioning.databases.scratch import scratch, workshop
from provisioning.databases.servers import connect, server_errors
from provisioning.databases.walker import added
from provisioning.errors import Transient
from provisioning.models import Release, ReleasePath


class BeingRecorded(Transient):
    """Another process is recording the path between these releases."""

    code = "PATH_BEING_RECORDED"


def path_between(source: Release, target: Release, *, progress: Progress | None = None) -> ReleasePath:
    """What takes a copy of `source` to `target`, forwards or backwards; one that nobody can walk says why.

    Takes as long as the migrations do when it is asked for the first time. A path that was refused is kept, too: delete
    the row to have it tried again. Raises NoOpenCluster, BeingRecorded, ServerUnavailable, ServerRefused.
    """
    kept = ReleasePath.objects.filter(source=source, target=target)
    if (path := kept.first()) is not None:
        return path
    cluster, name = workshop(), _scratch_name(source, target)
    prepare_cluster(cluster)
    with (
        server_errors(cluster.name),
        connect(cluster) as connection,
        sole(connection, name, busy=BeingRecorded),
    ):
        if (path := kept.first()) is not None:
            return path
        with scratch(connection, cluster, name) as (inside, url):
            walked = walk(inside, url, source, target, keys_of(target), progress or _in_silence)
        return keep(source, target, walked, rows_as_in(target, source, walked.added))


def keep(source: Release, target: Release, walked: Walk, rows: Rows) -> ReleasePath:
    return ReleasePath.objects.create(source=source, target=target, **walked.fields(rows))


def rows_as_in(target: Release, source: Release, found: Rows) -> Rows:
    """What post_migrate adds, with the ids it has in the target.

    They are those of the walked copy, unless releases in between have given them out: then all that the target has in
    these tables and the source has not.
    """
    seed: dict[str, dict[str, Any]] = {table["table"]: table for table in target.seed}
    there = {name: set(table["copy"].split("\n")) for name, table in seed.items()}
    if all(there.get(table["table"], set()).issuperset(table["copy"].split("\n")) for table in found):
        return found
    names = {table["table"] for table in found} & seed.keys()
    return added(source.seed, [seed[name] for name in sorted(names)])


def _scratch_name(source: Release, target: Release) -> str:
    return f"path_{sha256(f'{source.pk} {target.pk}'.encode()).hexdigest()[:32]}"


def _in_silence(_done: int, _total: int, _what: str) -> None:
    """For callers that show no progress."""
