"""Targets become rows: all of them at the approval, and late ones before the last wave ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from uuid import UUID

from django.db import IntegrityError, transaction

from provisioning.models import OPEN_TARGETS, Release, ReleasePath, Rollout, RolloutTarget
from provisioning.rollout.errors import TargetsTaken
from provisioning.rollout.plan import Frozen
from provisioning.rollout.selection import Chosen, chosen


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
    rows = [
        RolloutTarget(
            rollout=rollout,
            position=first + number,
            wave=wave,
            late=late,
            tenant_id=target.tenant_id,
            pool_id=target.pool_id,
            cluster_id=target.cluster_id,
            source_id=sources[target.release],
            path_id=paths[target.release].pk,
        )
        for number, (target, wave) in enumerate(turns)
    ]
    try:
        with transaction.atomic():
            RolloutTarget.objects.bulk_create(rows, batch_size=2_000)
    except IntegrityError:
        if (other := _who_has(rows)) is None:
            raise
        raise TargetsTaken(f"Rollout {other.public_id} has not finished with them.", rollout=other.public_id) from None


def _who_has(rows: list[RolloutTarget]) -> Rollout | None:
    wanted = RolloutTarget.objects.filter(state__in=OPEN_TARGETS).select_related("rollout")
    tenants = [row.tenant_id for row in rows if row.tenant_id]
    pools = [row.pool_id for row in rows if row.pool_id]
    taken = wanted.filter(tenant__in=tenants).first() or wanted.filter(pool__in=pools).first()
    return taken.rollout if taken else None
