"""Targets become rows: all of them at the approval, and late ones before the last wave ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from django.db import IntegrityError, connection, transaction

from provisioning.models import OPEN_TARGETS, Release, ReleasePath, Rollout, RolloutTarget
from provisioning.rollout.errors import TargetsTaken
from provisioning.rollout.plan import Frozen
from provisioning.rollout.selection import Chosen, chosen

# One statement, whose text is no longer for ten thousand: an approver waits for it, and so does the fleet.
INSERT = """
INSERT INTO provisioning_rollouttarget (
    rollout_id, position, wave, late, tenant_id, pool_id, cluster_id, source_id, path_id,
    state, attempts, forgiven, reason)
SELECT %(rollout)s, %(first)s + number - 1, wave, %(late)s, tenant, pool, cluster, source, path, 'waiting', 0, false, ''
FROM unnest(%(waves)s::int[], %(tenants)s::uuid[], %(pools)s::uuid[], %(clusters)s::uuid[], %(sources)s::uuid[],
    %(paths)s::uuid[]) WITH ORDINALITY AS target (wave, tenant, pool, cluster, source, path, number)
"""


def freeze(rollout: Rollout, frozen: Frozen) -> None:
    """One row for each target of the approved plan, in the caller's transaction. Raises TargetsTaken."""
    _insert(rollout, frozen.targets, frozen.paths, late=False, first=0)


def join_late(rollout: Rollout) -> int:
    """Those that were onboarded or moved since, and are on an older release, join the last wave. How many did.

    Only by the paths that were approved: another release of origin is another plan. The caller holds the rollout's row.
    """
    fleet = chosen(rollout.selection, release=rollout.release.name)
    known = {one for pair in rollout.targets.values_list("tenant_id", "pool_id") for one in pair if one is not None}
    sources = rollout.plan["sources"]
    new = [each for each in fleet.targets if not {each.tenant_id, each.pool_id} & known and each.release in sources]
    if not new:
        return 0
    recorded = ReleasePath.objects.filter(target=rollout.release, source__name__in=sources).select_related("source")
    paths = {path.source.name: path for path in recorded}
    turns = [(each, rollout.last_wave) for each in new if each.release in paths]
    _insert(rollout, turns, paths, late=True, first=rollout.targets.count())
    return len(turns)


def _insert(
    rollout: Rollout,
    turns: Iterable[tuple[Chosen, int]],
    paths: Mapping[str, ReleasePath],
    *,
    late: bool,
    first: int,
) -> None:
    sources: dict[str, UUID] = dict(Release.objects.filter(name__in=list(paths)).values_list("name", "pk"))
    chosen = list(turns)
    rows: dict[str, Any] = {
        "rollout": rollout.pk,
        "late": late,
        "first": first,
        "waves": [wave for _target, wave in chosen],
        "tenants": [target.tenant_id for target, _wave in chosen],
        "pools": [target.pool_id for target, _wave in chosen],
        "clusters": [target.cluster_id for target, _wave in chosen],
        "sources": [sources[target.release] for target, _wave in chosen],
        "paths": [paths[target.release].pk for target, _wave in chosen],
    }
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(INSERT, rows)
    except IntegrityError:
        if (other := _who_has([target for target, _wave in chosen])) is None:
            raise
        raise TargetsTaken(f"Rollout {other.public_id} has not finished with them.", rollout=other.public_id) from None


def _who_has(targets: list[Chosen]) -> Rollout | None:
    wanted = RolloutTarget.objects.filter(state__in=OPEN_TARGETS).select_related("rollout")
    tenants = [target.tenant_id for target in targets if target.tenant_id]
    pools = [target.pool_id for target in targets if target.pool_id]
    taken = wanted.filter(tenant__in=tenants).first() or wanted.filter(pool__in=pools).first()
    return taken.rollout if taken else None
