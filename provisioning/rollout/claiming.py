"""A lane takes a batch of targets: two statements that lock, one that takes, whatever the size of the rollout.

# Note [A target and an operation never work on one tenant]
The rows of the batch's tenants (and pools) are locked before the question whether an operation on them is open, and
whoever accepts an operation locks the same row. So either the operation is there to be seen, and the target waits for
it with `blocked_by`; or the target is running before the operation is accepted, and the operation's first step that
touches tables sees it (`holding.py`). Only locked, never waited for: a row that somebody holds is left for later.

# Note [A pool has its turn]
Somebody may always be on the way into a pool. So it waits only for those who were accepted before it began to wait, and
those accepted later wait for it: the same row of the pool is locked by both, so one of the two sees the other. A wait
that nobody looks after (the rollout is paused, its window closed) does not count, and begins anew: for a claim after
FRESH_S, for those who wait for the pool only after a longer time, so that no moment is both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TypeVar
from uuid import UUID

from provisioning.engine.rows import listed, prepared
from provisioning.engine.workflow import StepContext
from provisioning.models import ReleasePath, Rollout, RolloutTarget
from provisioning.rollout.errors import NoPath
from tenants.models import Cluster, Placement, Pool, Tenant

Owner = TypeVar("Owner", Tenant, Pool)

# Running targets whose lane has lost its lease, or was claimed anew, are anybody's: replaying observes first.
LOCK = """
SELECT t.id, t.tenant_id, t.pool_id
FROM provisioning_rollout r JOIN provisioning_rollouttarget t ON t.rollout_id = r.id
WHERE r.id = %(rollout)s AND r.state = 'running' AND t.cluster_id = %(cluster)s AND t.wave <= r.wave
AND t.state IN ('waiting', 'running') AND (
    t.state = 'waiting' AND (t.not_before IS NULL OR t.not_before <= statement_timestamp())
    OR t.state = 'running' AND NOT EXISTS (
        SELECT FROM provisioning_run l
        WHERE l.id = t.lane_id AND l.fence = t.fence AND l.lease_until > statement_timestamp()
    )
)
ORDER BY t.wave, t.position LIMIT least(%(limit)s, greatest(%(least)s, (
    SELECT ceil(count(*)::float / %(lanes)s)::int FROM (
        SELECT FROM provisioning_rollout o JOIN provisioning_rollouttarget w ON w.rollout_id = o.id
        WHERE o.id = %(rollout)s AND w.cluster_id = %(cluster)s AND w.wave <= o.wave AND w.state = 'waiting'
        LIMIT %(limit)s::int * %(lanes)s
    ) AS waiting
))) FOR NO KEY UPDATE OF t SKIP LOCKED
"""
LOCKED = "id = ANY (%s) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED"
# In a pool only who is on the way in or out is waited for: of ten thousand tenants some have an operation at any time.
TAKE = """
WITH asked AS (
    SELECT t.id, coalesce(own.id, inside.id) AS operation, coalesce(waits.since, statement_timestamp()) AS since
    FROM provisioning_rollouttarget t
    LEFT JOIN LATERAL (
        SELECT t.blocked_since AS since WHERE t.not_before > statement_timestamp() - %(fresh_s)s * interval '1 s'
    ) waits ON true
    LEFT JOIN LATERAL (
        SELECT r.id FROM provisioning_run r
        WHERE r.lock_key = 'tenant:' || t.tenant_id AND r.parent_id IS NULL AND r.finished_at IS NULL
    ) own ON true
    LEFT JOIN LATERAL (
        SELECT r.id FROM tenants_placement p
        JOIN tenants_tenant n ON n.id = p.tenant_id AND n.state NOT IN ('active', 'suspended')
        JOIN provisioning_run r ON r.lock_key = 'tenant:' || n.id AND r.parent_id IS NULL AND r.finished_at IS NULL
            AND (waits.since IS NULL OR r.created_at < waits.since)
        WHERE p.pool_id = t.pool_id AND p.active LIMIT 1
    ) inside ON true
    WHERE t.id = ANY (%(targets)s)
)
UPDATE provisioning_rollouttarget t SET
    blocked_by = asked.operation,
    blocked_since = CASE WHEN asked.operation IS NOT NULL THEN asked.since END,
    state = CASE WHEN asked.operation IS NULL THEN 'running' ELSE 'waiting' END,
    lane_id = CASE WHEN asked.operation IS NULL THEN %(lane)s::uuid END,
    fence = CASE WHEN asked.operation IS NULL THEN %(fence)s::bigint END,
    started_at = CASE WHEN asked.operation IS NULL THEN coalesce(started_at, statement_timestamp()) ELSE started_at END,
    not_before = CASE WHEN asked.operation IS NOT NULL THEN statement_timestamp() + %(blocked_s)s * interval '1 s' END
FROM asked WHERE t.id = asked.id
"""
FRESH_S = 30.0
LEAST_AT_ONCE = 15  # fewer are not worth a batch of their own, unless they take long
BLOCKED_S = 2.0  # until a blocked target is looked at again; meanwhile others have their turn


def claim(
    ctx: StepContext, rollout: Rollout, cluster_id: UUID, *, limit: int, least: int = LEAST_AT_ONCE
) -> list[RolloutTarget]:
    """At most `limit` targets of the waves that are open, now running in this lane. Inside `ctx.control()`.

    The last of a wave are shared with the cluster's other lanes, so that all end at about the same time: no lane takes
    more than `least` of them and more than its share.
    """
    share = {"limit": limit, "least": least, "lanes": rollout.parallelism}
    with prepared() as cursor:
        cursor.execute(LOCK, {"rollout": rollout.pk, "cluster": cluster_id, **share})
        found = cursor.fetchall()
        if not found:
            return []
        tenants = _locked(Tenant, [tenant for _id, tenant, _pool in found if tenant])
        pools = _locked(Pool, [pool for _id, _tenant, pool in found if pool])
        ids = [target for target, tenant, pool in found if tenant in tenants or pool in pools]
        cursor.execute(
            TAKE,
            {
                "targets": ids,
                "lane": ctx.run_id,
                "fence": ctx.fence,
                "blocked_s": BLOCKED_S,
                "fresh_s": FRESH_S,
            },
        )
    targets = listed(RolloutTarget, "id = ANY (%s) AND state = 'running' ORDER BY wave, position", [ids])
    _place(rollout, targets, tenants, pools)  # nobody moves while they are running here
    rollout.wave = max([rollout.wave, *(target.wave for target in targets)])  # it may have gone on since it was read
    return targets


def placed(rollout: Rollout, where: str, conditions: Sequence[object]) -> list[RolloutTarget]:
    """Targets of one rollout with all that a replayer wants to know of them."""
    targets = listed(RolloutTarget, where, conditions)
    tenants = Tenant.objects.in_bulk({target.tenant_id for target in targets if target.tenant_id})
    _place(rollout, targets, tenants, Pool.objects.in_bulk({target.pool_id for target in targets if target.pool_id}))
    return targets


def _place(
    rollout: Rollout, targets: Sequence[RolloutTarget], tenants: Mapping[UUID, Tenant], pools: Mapping[UUID, Pool]
) -> None:
    ids = [target.tenant_id for target in targets if target.tenant_id]
    places = {place.tenant_id: place for place in listed(Placement, "tenant_id = ANY (%s) AND active", [ids])}
    # A lane has one for all its targets; only who has moved since the approval is on another.
    its_own = {target.cluster_id for target in targets}
    clusters = Cluster.objects.in_bulk(its_own | {place.cluster_id for place in places.values()})
    for place in places.values():
        place.cluster = clusters[place.cluster_id]
    for target in targets:
        target.rollout, target.cluster = rollout, clusters[target.cluster_id]
        if target.tenant_id is not None:
            target.tenant, target.place = tenants[target.tenant_id], places.get(target.tenant_id)
        if target.pool_id is not None:
            target.pool = pools[target.pool_id]


def path_of(target: RolloutTarget) -> ReleasePath:
    """What the target is to be taken along. Raises NoPath."""
    if target.path_id is None:
        raise NoPath(f"{target} has no path.")
    return _path(target.path_id)


@lru_cache(maxsize=8)
def _path(pk: UUID) -> ReleasePath:
    """Kept in memory: it never changes, and a batch has one for all."""
    return ReleasePath.objects.select_related("source", "target").get(pk=pk)


def _locked(model: type[Owner], ids: list[UUID]) -> dict[UUID, Owner]:
    return {owner.pk: owner for owner in listed(model, LOCKED, [ids])} if ids else {}
