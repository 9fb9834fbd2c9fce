"""Whose tables a rollout is changing, for operations that would meet it there. See claiming's Note on both."""

from __future__ import annotations

from uuid import UUID

from django.db.models import Q, QuerySet

from provisioning.models import Rollout, RolloutState, RolloutTarget, TargetState


def at_work_on(tenant_id: UUID) -> Rollout | None:
    """The rollout that has a tenant with tables of its own in work now."""
    return _rollout(RolloutTarget.objects.filter(tenant=tenant_id, state=TargetState.RUNNING))


def at_work_in(pool_id: UUID | None) -> Rollout | None:
    """The rollout that has a pool in work now, or whose turn it would be but for those on their way into it.

    The latter counts too, or a pool that somebody always moves into would never have its turn.
    """
    next_ = Q(state=TargetState.WAITING, blocked_by__isnull=False, rollout__state=RolloutState.RUNNING)
    return (
        _rollout(RolloutTarget.objects.filter(Q(state=TargetState.RUNNING) | next_, pool=pool_id)) if pool_id else None
    )


def _rollout(targets: QuerySet[RolloutTarget]) -> Rollout | None:
    found = targets.select_related("rollout").first()
    return found.rollout if found else None
