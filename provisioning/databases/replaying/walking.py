"""Bring one target along a path: look where it stands, act, and look again before it counts.

# Note [One act of observing, and it is the server's]
A path of one stage is one text: lock, look, act, record, ask, commit. Where it may not act, its own check ends it, and
then nothing was done. Longer ones look first, and are then walked from the marker on, by whoever comes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

from provisioning.databases.ddl import HOUSE
from provisioning.databases.replay import checked
from provisioning.databases.replaying import markers, places, stages
from provisioning.databases.replaying.errors import StandsElsewhere
from provisioning.databases.replaying.expecting import Expected
from provisioning.databases.replaying.lanes import Lane
from provisioning.databases.replaying.markers import Marker
from provisioning.databases.replaying.places import Stand
from provisioning.databases.replaying.sessions import Session, Straight
from provisioning.databases.replaying.stages import AlreadyThere, Bound
from provisioning.databases.replaying.targets import Target
from provisioning.databases.replaying.walks import Stage, Way, walk_of
from provisioning.databases.servers import Connection, run, server_errors
from provisioning.models import ReleasePath

LOCK_TIMEOUT = timedelta(seconds=2)
BUDGET = timedelta(seconds=20)  # of one call; well inside a lease
TENANTS_AT_ONCE = 200  # of a pool, in one transaction

_LOCK = f"SELECT pg_advisory_{{kind}}lock(hashtextextended('{HOUSE}: replay of {{schema}}', 0))"


@dataclass(frozen=True, slots=True)
class Arrived:
    """The target is on the path's target, in its shape. `already`: it was when we came. `seconds` it took this call."""

    already: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Unfinished:
    """The time is up. `done` of `total` stages are behind the target; call again for the next."""

    note: str
    done: int
    total: int


def replay(
    target: Target,
    path: ReleasePath,
    *,
    expected: Expected,
    lane: Lane,
    lock_timeout: timedelta = LOCK_TIMEOUT,
    budget: timedelta = BUDGET,
) -> Arrived | Unfinished:
    """Bring the target along, or as far as the time allows; at least one piece of the way.

    Safe to call again after a crash at any point, and side by side: nothing is done twice. An error leaves the target
    where its last committed stage had brought it, which for a path of one stage is where it was. Raises LockTimeout,
    Overtaken, RunnerEnded or ServerUnavailable (all Transient), StatementFailed, ShapeDiffers, StandsElsewhere,
    UnsafeInPool or MigrationMissing (Permanent).
    """
    began = time.monotonic()
    checked(target.schema)
    walk = walk_of(path, pooled=target.pooled)
    bound = Bound(target, walk, expected, lock_timeout)
    try:
        with server_errors(target.schema):
            outcome: Unfinished | bool
            if walk.at_once:
                outcome = _at_once(bound, lane, path.target.apps)
            else:
                outcome = _in_stages(bound, lane, path.target.apps, until=began + budget.total_seconds())
    finally:
        lane.leave(target)
    return outcome if isinstance(outcome, Unfinished) else Arrived(outcome, time.monotonic() - began)


def _at_once(bound: Bound, lane: Lane, apps: list[str]) -> bool:
    """Whether it was there already. See Note [One act of observing, and it is the server's]."""
    (stage,) = bound.walk.stages
    opening = f"{_locked(bound, 'xact_')};{places.check(bound.walk)}"
    try:
        stages.together(_session(bound, lane, stage, apps), bound, stage, opening=opening, arriving=True)
    except AlreadyThere:
        return True
    return False


def _in_stages(bound: Bound, lane: Lane, apps: list[str], *, until: float) -> Unfinished | bool:
    connection = lane.connection(bound.target)
    markers.ensure(connection)
    with _held(bound, connection):
        marker = _found(bound, connection)
        if marker is None:
            return True
        while marker.done < len(bound.walk.stages):
            marker = _walked(bound, lane, apps, marker)
            if time.monotonic() >= until and marker.done < len(bound.walk.stages):
                note = f"tenants up to {marker.after}" if marker.after else ""
                return Unfinished(note, marker.done, len(bound.walk.stages))
    return False


def _found(bound: Bound, connection: Connection) -> Marker | None:
    """The target's marker, set now if it is on the source; None if it is there already. Raises StandsElsewhere."""
    match places.place(connection, bound.target, bound.walk).stand:
        case Stand.TARGET:
            return None
        case Stand.SOURCE:
            run(connection, markers.begun(bound.target.schema, bound.walk.path))
        case Stand.ELSEWHERE:
            raise StandsElsewhere(f"{bound.target.schema} is at neither end of the path, or on its way along another.")
        case Stand.BETWEEN:
            pass
    return markers.of(connection, bound.target.schema)


def _walked(bound: Bound, lane: Lane, apps: list[str], marker: Marker) -> Marker:
    """One stage further, or some tenants further in the same stage."""
    schema, stage = bound.target.schema, bound.walk.stages[marker.done]
    next_stage = Marker(marker.path, marker.done + 1)
    arriving = next_stage.done == len(bound.walk.stages)
    match stage.way:
        case Way.TOGETHER:
            opening = markers.removed(schema, marker) if arriving else markers.moved(schema, marker)
            stages.together(_session(bound, lane, stage, apps), bound, stage, opening=opening, arriving=arriving)
        case Way.ALONE:
            straight = Straight(lane.connection(bound.target))
            stages.alone(straight, bound, stage)
            stages.said(straight, bound, markers.moved(schema, marker))
        case Way.EACH:
            tenants = bound.target.after(marker.after, TENANTS_AT_ONCE)
            here = stages.admitted(lane.connection(bound.target), tenants)
            last = tenants[-1].tenant_id if len(tenants) == TENANTS_AT_ONCE else None
            opening = markers.moved(schema, marker, after=last)
            stages.each(_session(bound, lane, stage, apps), bound, stage, opening, here)
            if last is not None:
                return replace(marker, after=last)
    return next_stage


def _session(bound: Bound, lane: Lane, stage: Stage, apps: list[str]) -> Session:
    if stage.runs_python:
        return lane.runner(bound.target, bound.walk, apps)
    return Straight(lane.connection(bound.target))


@contextmanager
def _held(bound: Bound, connection: Connection) -> Iterator[None]:
    """The target's lock, from stage to stage. What is at once waits for it, too."""
    stages.said(Straight(connection), bound, bound.patience + _locked(bound, ""))
    try:
        yield
    finally:
        if not connection.closed:
            run(connection, f"{_locked(bound, 'un')}; RESET lock_timeout")


def _locked(bound: Bound, kind: str) -> str:
    return _LOCK.format(kind=kind, schema=bound.target.schema)
