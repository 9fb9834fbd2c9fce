"""Publish a release: migrate the tenant application once, and keep everything that copies of it need.

# Note [Ids stay from release to release]
Made from nothing, a release gives its content types and permissions the ids that come next, so a new model that sorts
first moves all others on. Tenants that were migrated have theirs, though, and what a process remembers of one tenant's
it uses for the other. So a copy of the former release is migrated as well, and where it ends in the same shape, its
rows are those that new tenants begin with. It is also the path on which the fleet follows. A migration that has been
published is history: what is changed in its data afterwards reaches nobody; write another one.
"""

from __future__ import annotations

import json
import logging
import secrets
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

import psycopg
from django.db import transaction
from django.db.models.functions import Now

from provisioning.databases import ddl
from provisioning.databases.dump import Dump, dump, with_rows_of
from provisioning.databases.fitness import prepare_cluster
from provisioning.databases.inputs import Inputs, found
from provisioning.databases.layout import lay_out, retire, sole
from provisioning.databases.migrating import record
from provisioning.databases.paths.keeping import keep
from provisioning.databases.paths.walking import Walk, walk
from provisioning.databases.pooling.proof import Pooled, prove
from provisioning.databases.recording import Progress
from provisioning.databases.refusals import refuse_unsafe
from provisioning.databases.scratch import make_schema, scratch, set_aside, workshop
from provisioning.databases.servers import Connection, connect, run, server_errors
from provisioning.databases.sqlfiles import forget_refused
from provisioning.errors import Permanent, Transient
from provisioning.models import RecordedMigration, Release
from tenants.actions import Actor, AuditAction, ObjectType
from tenants.audit import write as audit
from tenants.errors import TenureError
from tenants.models import Cluster

logger = logging.getLogger(__name__)

LOCK = "tenure: publishing a release"
RECORDED = ("app", "name", "atomic", "replaces", "operations")
INTERRUPTED = "The process that published it was ended."


@dataclass(frozen=True, slots=True)
class _Blueprint:
    """A release's row, and what came out of migrating it."""

    release: Release
    made: Dump
    pooled: Pooled
    recorded: list[dict[str, Any]]
    former: Release | None = None
    walked: Walk | None = None  # from the former release

    def is_that_of(self, release: Release) -> bool:
        """Whether it would bring nothing new."""
        made = Dump(release.script, release.seed, release.finish, release.fingerprint, release.shape)
        recorded = list(release.migrations.order_by("position").values(*RECORDED))
        return _Blueprint(release, made, Pooled(), recorded).essence == self.essence

    @property
    def essence(self) -> tuple[object, ...]:
        """What two equal releases have in common: neither the schema's name nor the time of day."""
        rows = [table for table in self.made.seed if table["table"] != "django_migrations"]
        text = json.dumps([self.recorded, rows], sort_keys=True)
        return self.release.apps, self.made.fingerprint, text.replace(self.release.placeholder, "")


class NoExpandRelease(Permanent):
    """The release that is said to have made room for this one is not published."""

    code = "NO_EXPAND_RELEASE"
    cure = "Publish that one first and roll it out, or name another."


class AlreadyPublishing(Transient):
    """Another process is publishing a release."""

    code = "RELEASE_BEING_PUBLISHED"
    cure = "Wait until it has ended, then publish again: if nothing is new, that changes nothing."


class NameTaken(Permanent):
    """A published release has this name."""

    code = "RELEASE_NAME_TAKEN"
    cure = "Choose another name, or leave it out to get one made of the date."


def publish(name: str | None = None, *, actor: Actor, contracts: str = "", progress: Progress | None = None) -> Release:
    """Make the tenant application as installed here the current release, and lay it out on every open cluster.

    Returns the release that was current before when there is nothing new. While this runs, and if it fails, the former
    release stays current; the failed row keeps the error. Takes as long as migrating does. Raises NoOpenCluster,
    AlreadyPublishing, NameTaken, SqlRefused, MigrationFailed, BlueprintRefused, NoPgDump, or a server's error.
    """
    cluster = workshop()
    if contracts and not Release.objects.filter(name=contracts, state=Release.State.PUBLISHED).exists():
        raise NoExpandRelease(f"There is no published release {contracts!r}.")
    prepare_cluster(cluster)
    with (
        server_errors(cluster.name),
        connect(cluster) as connection,
        sole(connection, LOCK, busy=AlreadyPublishing),
    ):
        _clear_away_interrupted(connection)
        inputs = found()
        release = Release.objects.filter(current=True, inputs=inputs.digest).first()
        if release is None:
            blueprint = _made(_begun(name, inputs, contracts), connection, cluster, progress or _in_silence)
            release = _same_as_current(blueprint) or _published(blueprint, cluster, actor)
    for each in Cluster.objects.filter(state=Cluster.State.OPEN):
        _lay_out_if_it_answers(release, each)
    return release


def _made(release: Release, connection: Connection, cluster: Cluster, progress: Progress) -> _Blueprint:
    """Migrate in a scratch database, read it back, and look whether it may be copied."""
    with _failure_kept(release), scratch(connection, cluster, _scratch_name(release)) as (inside, url):
        make_schema(inside, release.placeholder)
        recorded = record(url, release, progress)
        progress(len(recorded), len(recorded), "reading the schema back")
        made = dump(inside, url, release.placeholder)
        refuse_unsafe(inside, release.placeholder, made)
        progress(len(recorded), len(recorded), "compiling for pools")
        pooled = prove(inside, release.placeholder, f"{made.script}\n{made.finish}", recorded)
        blueprint = _Blueprint(release, made, pooled, recorded)
        former = Release.objects.filter(current=True).first()
        if former is None or blueprint.is_that_of(former):
            return blueprint
        return _after(former, blueprint, inside, url, progress)


def _after(former: Release, blueprint: _Blueprint, inside: Connection, url: str, progress: Progress) -> _Blueprint:
    """The same, with the rows that a copy of the former release has at the end of its way, if it arrives."""
    release = blueprint.release
    set_aside(inside, release.placeholder)
    for name, value in {**asdict(blueprint.made), **asdict(blueprint.pooled)}.items():
        setattr(release, name, value)
    wanted = [(migration["app"], migration["name"]) for migration in blueprint.recorded]
    walked = walk(inside, url, former, release, wanted, progress)
    made = with_rows_of(blueprint.made, inside, release.placeholder) if walked.arrived else blueprint.made
    return replace(blueprint, made=made, former=former, walked=walked)


def _published(blueprint: _Blueprint, cluster: Cluster, actor: Actor) -> Release:
    """Keep it, prove that it can be copied by laying it out once, and only then make it current."""
    release = blueprint.release
    with _failure_kept(release):
        with transaction.atomic():
            Release.objects.filter(pk=release.pk).update(**asdict(blueprint.made), **asdict(blueprint.pooled))
            RecordedMigration.objects.bulk_create(
                RecordedMigration(release=release, position=position, **migration)
                for position, migration in enumerate(blueprint.recorded)
            )
            forget_refused()
            if blueprint.former is not None and blueprint.walked is not None:
                keep(blueprint.former, release, blueprint.walked, blueprint.walked.added)
        release.refresh_from_db()
        lay_out(release, cluster)
        with transaction.atomic():
            Release.objects.filter(current=True).update(current=False)
            Release.objects.filter(pk=release.pk).update(
                state=Release.State.PUBLISHED, current=True, published_at=Now()
            )
            audit(AuditAction.RELEASE_PUBLISHED, actor=actor, object=(ObjectType.RELEASE, release.pk))
    release.refresh_from_db()
    return release


def _begun(name: str | None, inputs: Inputs, contracts: str) -> Release:
    """The row comes first: whatever is made afterwards is named after its id, and found by it after a crash."""
    with transaction.atomic():
        Release.objects.filter(name=name, state=Release.State.FAILED).delete()  # a second try under the same name
        if name is not None and Release.objects.filter(name=name).exists():
            raise NameTaken(f"There is a release {name} already.")
        release_id = uuid.uuid4()
        return Release.objects.create(
            id=release_id,
            name=name or _name_of_the_date(),
            apps=inputs.apps,
            files=inputs.files,
            placeholder=f"bp_{secrets.token_hex(16)}",
            inputs=inputs.digest,
            contracts=contracts,
        )


def _name_of_the_date() -> str:
    """2026.11.1, 2026.11.2, …: the first that is free."""
    today = datetime.now(UTC)
    month = f"{today.year}.{today.month}."
    taken = set(Release.objects.filter(name__startswith=month).values_list("name", flat=True))
    return next(name for number in range(1, len(taken) + 2) if (name := f"{month}{number}") not in taken)


@contextmanager
def _failure_kept(release: Release) -> Iterator[None]:
    """An error is kept on the row. A process that is ended leaves the row as it is, for the next one to clear away."""
    try:
        yield
    except (TenureError, psycopg.Error, OSError) as error:
        Release.objects.filter(pk=release.pk).update(state=Release.State.FAILED, error=str(error)[:4_000])
        raise


def _scratch_name(release: Release) -> str:
    return f"blueprint_{release.id.hex}"


def _same_as_current(blueprint: _Blueprint) -> Release | None:
    """The current release, if this one would bring nothing but, say, other comments in its migrations."""
    current = Release.objects.filter(current=True).first()
    if current is None:
        return None
    if not blueprint.is_that_of(current):
        return None
    pooled = blueprint.pooled.named(blueprint.release.placeholder, current.placeholder)
    made = blueprint.release
    Release.objects.filter(pk=current.pk).update(inputs=made.inputs, files=made.files, **asdict(pooled))
    forget_refused()
    made.delete()
    current.refresh_from_db()
    return current


def _clear_away_interrupted(connection: Connection) -> None:
    """We hold the publishers' lock, so whoever left a release unfinished is gone."""
    Release.objects.filter(state=Release.State.PUBLISHING).update(state=Release.State.FAILED, error=INTERRUPTED)
    there = {
        str(name) for (name,) in run(connection, "SELECT datname FROM pg_database WHERE datname LIKE 'blueprint\\_%'")
    }
    for release in Release.objects.filter(state=Release.State.FAILED):
        if (name := _scratch_name(release)) in there:
            run(connection, ddl.drop_database(name))


def _lay_out_if_it_answers(release: Release, cluster: Cluster) -> None:
    """A cluster that does not answer now gets the release when the first tenant is placed on it."""
    try:
        prepare_cluster(cluster)
        lay_out(release, cluster)
        retire(cluster)
    except Transient as error:
        logger.warning("Release %s is not laid out on cluster %s yet: %s", release.name, cluster.name, error)


def _in_silence(_done: int, _total: int, _what: str) -> None:
    """For callers that show no progress."""
