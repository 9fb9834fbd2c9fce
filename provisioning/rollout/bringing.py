"""Bring a rollout's target along its path: what the lanes of one process replay with."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from provisioning.databases import drift
from provisioning.databases.releases import release_named
from provisioning.databases.replaying import (
    Expected,
    Lane,
    Shape,
    ShapeDiffers,
    Stamped,
    Stand,
    StatementFailed,
    Target,
    Trouble,
    Unfinished,
    replay,
    where,
)
from provisioning.databases.replaying.walks import walk_of
from provisioning.databases.servers import server_errors
from provisioning.models import AdoptedDrift, Release, ReleasePath, RolloutTarget
from provisioning.models.stamps import expected, known, learn
from provisioning.rollout import seams
from provisioning.rollout.drift import accepted
from tenants.context import TenantContext
from tenants.models import Placement
from tenants.placement import pool_group
from tenants.states import Tier


class DatabaseReplayer:
    """The real one. Connection, Python process and known stamps are kept from target to target, by each process."""

    def __init__(self) -> None:
        self._lane: Lane | None = None
        self._process = 0
        self._stamps: dict[str, set[str]] = {}
        atexit.register(self._leave)

    def replay(self, target: RolloutTarget, path: ReleasePath) -> seams.Replayed:
        place, pooled = place_of(target), target.pool_id is not None
        stamps = self._known(path.target, pooled=pooled)
        before = len(stamps)
        at_once = walk_of(path, pooled=pooled).at_once
        if not at_once and self._is_untouched(place, path):
            self._refuse_drift(target, place, path.source)  # at once, drift is found before the commit
        try:
            outcome = replay(
                place,
                path,
                expected=Accepting(Stamped(Shape.of(path.target, pooled=pooled), stamps), target),
                lane=self._own_lane(),
                lock_timeout=timedelta(milliseconds=target.rollout.lock_timeout_ms),
            )
        except StatementFailed as failed:
            if at_once and failed.metadata["trouble"] == Trouble.OTHER:  # rows are not to blame, and nothing was done
                self._blame_drift(failed, target, place, path.source)
            raise
        if len(stamps) > before:
            for stamp in stamps - known(path.target, pooled=pooled):
                learn(path.target, stamp, pooled=pooled)
        if isinstance(outcome, Unfinished):
            return seams.Unfinished({"note": outcome.note, "done": outcome.done, "total": outcome.total})
        return seams.Arrived()

    def difference(self, target: RolloutTarget, release: Release) -> str:
        return "\n".join(self._lines(target, place_of(target), release))

    def close(self) -> None:
        """Keep a session at most."""
        if self._lane is not None and self._process == os.getpid():
            self._lane.rest()

    def _leave(self) -> None:
        if self._lane is not None and self._process == os.getpid():
            self._lane.close()

    def _is_untouched(self, place: Target, path: ReleasePath) -> bool:
        """By its own database: who was killed between two stages, or lost the server there, has told nobody."""
        lane = self._own_lane()
        with server_errors(place.schema):
            stand = where(lane.connection(place), place, path).stand
        lane.leave(place)
        return stand == Stand.SOURCE

    def _refuse_drift(self, target: RolloutTarget, place: Target, release: Release) -> None:
        if lines := self._lines(target, place, release_named(release.name)):
            raise ShapeDiffers(place.schema, lines)

    def _blame_drift(self, failed: StatementFailed, target: RolloutTarget, place: Target, release: Release) -> None:
        """A statement that fits the release fails where somebody has changed what it is about."""
        try:
            self._refuse_drift(target, place, release)
        except ShapeDiffers as differs:
            differs.metadata |= {name: failed.metadata[name] for name in ("statement", "migration", "sqlstate")}
            raise differs from failed

    def _lines(self, target: RolloutTarget, place: Target, release: Release) -> list[str]:
        """What differs and was not accepted."""
        lane = self._own_lane()
        with server_errors(place.schema):
            lines = drift.drift_of(lane.connection(place), place.schema, release, pooled=place.pooled)
        lane.leave(place)
        return [] if is_accepted(target, lines) else lines

    def _own_lane(self) -> Lane:
        """A worker forks: what its parent opened is not ours."""
        if self._lane is None or self._process != os.getpid():
            self._lane, self._process = Lane(), os.getpid()
        return self._lane

    def _known(self, release: Release, *, pooled: bool) -> set[str]:
        fingerprint = expected(release, pooled=pooled)
        if fingerprint not in self._stamps:
            self._stamps[fingerprint] = set(known(release, pooled=pooled))
        return self._stamps[fingerprint]


@dataclass(frozen=True, slots=True)
class Accepting:
    """The release's shape, or one that differs from it in just the lines that somebody accepted."""

    shape: Expected
    target: RolloutTarget = field(repr=False)

    def question(self, schema: str) -> str:
        return self.shape.question(schema)

    def demand(self, schema: str) -> str:
        return self.shape.demand(schema)

    def judge(self, schema: str, answer: str | None, lines: Callable[[], list[str]]) -> None:
        try:
            self.shape.judge(schema, answer, lines)
        except ShapeDiffers as differs:
            if not is_accepted(self.target, differs.difference):
                raise


def is_accepted(target: RolloutTarget, lines: Sequence[str]) -> bool:
    """Whether there is no difference, or exactly the one that was adopted. See `adoption`."""
    if not lines:
        return True
    owner = {"tenant": target.tenant_id} if target.tenant_id else {"pool": target.pool_id}
    adopted = AdoptedDrift.objects.filter(**owner, ended_at=None).first()
    return accepted(adopted, lines)


def place_of(target: RolloutTarget) -> Target:
    """Where it is, with all who live there. `target` comes with its tenant or pool, and its cluster."""
    if (pool := target.pool) is not None:
        cluster = target.cluster
        who = _inside(pool.pk)
        return Target(Tier.POOL, cluster.name, cluster.database, pool.schema, who, role=pool_group(pool.pk))
    assert target.tenant is not None  # noqa: S101  a constraint of the table
    context = target.place.context_of(target.tenant) if target.place else target.tenant.context()
    return Target(context.tier, context.cluster, context.database, context.schema, (context,), role=context.key)


def _inside(pool_id: UUID) -> Callable[[UUID | None, int], Sequence[TenantContext]]:
    """A pool's tenants, some at a time, in the order of their ids."""

    def after(last: UUID | None, limit: int) -> Sequence[TenantContext]:
        there = Placement.objects.filter(pool=pool_id, active=True).select_related("tenant", "cluster")
        if last is not None:
            there = there.filter(tenant__gt=last)
        return [placement.context() for placement in there.order_by("tenant")[:limit]]

    return after
