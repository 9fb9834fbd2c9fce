"""Whose tables a rollout is changing, for operations that would meet it there. See claiming's Notes."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from provisioning.engine.rows import answer
from provisioning.models import Rollout

LOOKED_AFTER = timedelta(seconds=60)  # longer than a claim takes a wait for fresh
_HAS_OR_WAITS = """
pool_id = %s AND (
    state = 'running' OR state = 'waiting' AND blocked_since <= %s AND not_before > statement_timestamp() - %s)
"""


def at_work_on(tenant_id: UUID) -> Rollout | None:
    """The rollout that has a tenant with tables of its own in work now."""
    return _rollout("tenant_id = %s AND state = 'running'", tenant_id)


def at_work_in(pool_id: UUID | None, *, since: datetime) -> Rollout | None:
    """The rollout that somebody accepted at `since` must let go first: it has the pool in work, or waits for it longer.

    None for who is in no pool.
    """
    if pool_id is None:
        return None
    return _rollout(_HAS_OR_WAITS, pool_id, since, LOOKED_AFTER)


def _rollout(where: str, *conditions: object) -> Rollout | None:
    """Nearly always there is none: that is asked for first."""
    found = answer(f"SELECT rollout_id FROM provisioning_rollouttarget WHERE {where}", conditions)
    return Rollout.objects.get(pk=found[0]) if found else None
