"""Whose tables a rollout is changing, for operations that would meet it there. See claiming's Notes."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from provisioning.models import Rollout, RolloutTarget, TargetState

LOOKED_AFTER = timedelta(seconds=60)  # longer than a claim takes a wait for fresh


def at_work_on(tenant_id: UUID) -> Rollout | None:
    """The rollout that has a tenant with tables of its own in work now."""
    return _rollout(RolloutTarget.objects.filter(tenant=tenant_id, state=TargetState.RUNNING))


def at_work_in(pool_id: UUID | None, *, since: datetime) -> Rollout | None:
    """The rollout that somebody accepted at `since` must let go first: it has the pool in work, or waits for it longer.

    None for who is in no pool.
    """
    if pool_id is None:
        return None
    waits = Q(state=TargetState.WAITING, blocked_since__lte=since, not_before__gt=Now() - LOOKED_AFTER)
    return _rollout(RolloutTarget.objects.filter(Q(state=TargetState.RUNNING) | waits, pool=pool_id))


def _rollout(targets: QuerySet[RolloutTarget]) -> Rollout | None:
    """Nearly always there is none: that is asked for first."""
    found = targets.values_list("rollout", flat=True).first()
    return Rollout.objects.get(pk=found) if found else None
