"""Exchange the keys that tickets into pools are signed with, in every cluster, without refusing anybody.

`begin` adds the next version to each cluster's guard and signs with it from then on; `finish` drops the others, once
nobody can hold a credential from before. Each cluster is a matter of its own: one that is away is named and left as it
was, and both verbs may be run again at any moment. See guard's Note [Exchanging the keys].
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from provisioning.databases import door, guard, signing
from provisioning.databases.ddl import GUARD
from provisioning.databases.servers import Connection, ServerUnavailable, connect, run, server_errors
from tenants.actions import Actor, AuditAction, ObjectType, Outcome
from tenants.audit import write as audit
from tenants.models import Cluster

HANDED_OUT_FOR = timedelta(minutes=15)  # how long an application goes on with the credentials it was handed
# Until nobody comes with a key from before: a process of ours may hand out the former version for KNOWN_FOR_S more, and
# a ticket is good for a minute.
RUN_OUT = HANDED_OUT_FOR + timedelta(seconds=signing.KNOWN_FOR_S) + timedelta(minutes=1)

_HAS_GUARD = "SELECT to_regclass(%s) IS NOT NULL"


class State(StrEnum):
    """How a cluster stands. AWAY: its server does not answer. UNGUARDED: it has no guard, and so no pools."""

    SETTLED = "settled"
    BEGUN = "begun"
    FINISHED = "finished"
    TOO_EARLY = "too early"
    AWAY = "away"
    UNGUARDED = "unguarded"


@dataclass(frozen=True, slots=True)
class Standing:
    """One cluster: the version that signs, and all that are good there. BEGUN and TOO_EARLY: `until` is when the former
    ones may be dropped. FINISHED: so many sessions had to be ended. AWAY: what was said.
    """

    cluster: str
    state: State
    signs: int
    good: tuple[str, ...] = ()
    until: datetime | None = None
    ended: int = 0
    said: str = ""


def plan() -> Iterator[Standing]:
    """How each cluster stands. Changes nothing."""
    yield from _each(_standing, Cluster.objects.order_by("name"))


def begin(*, actor: Actor) -> Iterator[Standing]:
    """Sign with another version from now on, wherever no exchange is under way; told cluster by cluster.

    A cluster that is away stays as it was: run it again when it is back.
    """
    yield from _each(lambda cluster, connection: _begun(cluster, connection, actor), Cluster.objects.order_by("name"))


def finish(*, actor: Actor, at_once: bool = False) -> Iterator[Standing]:
    """Drop every version but the one that signs, wherever an exchange is under way and its time has come.

    Transactions from before are waited for, and ended after door.WITHIN. `at_once` does not wait until credentials
    from before have run out: their holders are refused once and ask for new ones by themselves.
    """
    under_way = Cluster.objects.filter(context_since__isnull=False).order_by("name")
    yield from _each(lambda cluster, connection: _finished(cluster, connection, actor, at_once=at_once), under_way)


def _each(act: Callable[[Cluster, Connection], Standing], clusters: Iterable[Cluster]) -> Iterator[Standing]:
    for cluster in list(clusters):
        try:
            with server_errors(cluster.name), connect(cluster) as connection:
                ((guarded,),) = run(connection, _HAS_GUARD, f"{GUARD}.context_key")
                standing = act(cluster, connection) if guarded else _said(cluster, State.UNGUARDED)
        except ServerUnavailable as error:
            standing = _said(cluster, State.AWAY, said=str(error))
        yield standing


def _standing(cluster: Cluster, connection: Connection) -> Standing:
    good = guard.versions(connection)
    if cluster.context_since is None:
        return _said(cluster, State.SETTLED, good=good)
    return _said(cluster, State.BEGUN, good=good, until=cluster.context_since + RUN_OUT)


def _begun(cluster: Cluster, connection: Connection, actor: Actor) -> Standing:
    """The database first: killed in between, the next run adds the same version again and signs with it."""
    if cluster.context_since is not None:
        return _standing(cluster, connection)
    former = cluster.context_version
    cluster.context_version, cluster.context_secret = former + 1, signing.mark(settings.TENURE_CONTEXT_SECRET)
    guard.add_version(connection, cluster=cluster, database=cluster.database, signs=signing.of(cluster))
    with transaction.atomic():
        same = Cluster.objects.filter(pk=cluster.pk, context_version=former, context_since=None)
        changed = same.update(
            context_version=cluster.context_version, context_secret=cluster.context_secret, context_since=Now()
        )
        if changed:  # else somebody began at the same moment: what they wrote is as good
            _tell(cluster, actor, Outcome.REQUESTED)
    signing.forget(cluster)
    cluster.refresh_from_db()
    return _standing(cluster, connection)


def _finished(cluster: Cluster, connection: Connection, actor: Actor, *, at_once: bool) -> Standing:
    begun = _standing(cluster, connection)
    if begun.until is None or (not at_once and timezone.now() < begun.until):
        return replace(begun, state=State.TOO_EARLY)
    ended = door.wait_until_left(connection)
    guard.keep_version(connection, version=str(cluster.context_version))
    with transaction.atomic():
        same = Cluster.objects.filter(pk=cluster.pk, context_version=cluster.context_version)
        if same.filter(context_since__isnull=False).update(context_since=None):
            _tell(cluster, actor, Outcome.DONE)
    return _said(cluster, State.FINISHED, good=guard.versions(connection), ended=ended)


def _tell(cluster: Cluster, actor: Actor, outcome: Outcome) -> None:
    audit(
        AuditAction.CONTEXT_KEY_ROTATED,
        actor=actor,
        object=(ObjectType.CLUSTER, cluster.pk),
        outcome=outcome,
        counts={"version": cluster.context_version},
    )


def _said(cluster: Cluster, state: State, **more: Any) -> Standing:
    return Standing(cluster.name, state, cluster.context_version, **more)
