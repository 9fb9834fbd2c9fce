"""How a batch ended: one statement for its targets, and one for each kind of thing that is on another release now."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import F
from django.db.models.functions import Now

from provisioning.databases.replaying import trouble_of
from provisioning.engine.failure import Failure, Verdict, failure, is_outage, jitter
from provisioning.engine.rows import prepared
from provisioning.engine.workflow import StepContext
from provisioning.models import Rollout, RolloutTarget, TargetState
from provisioning.rollout.budget import LOST_CONNECTION, OTHER
from tenants import events
from tenants.errors import TenureError
from tenants.events import EventType
from tenants.models import Placement, Pool, Tenant

MOST_ATTEMPTS = 5
SAID = ("statement", "migration", "sqlstate", "difference")  # what an error may say beside its message
LONGEST_SAID = 4_000

RECORD = """
UPDATE provisioning_rollouttarget t SET
    state = o.state, attempts = o.attempts, error = o.error::jsonb, cursor = o.cursor::jsonb, seconds = o.seconds,
    not_before = statement_timestamp() + o.wait_s * interval '1 s',
    finished_at = CASE WHEN o.state IN ('succeeded', 'failed') THEN statement_timestamp() END,
    lane_id = NULL, fence = NULL
FROM unnest(%(ids)s::bigint[], %(states)s::text[], %(attempts)s::int[], %(errors)s::text[], %(cursors)s::text[],
    %(seconds)s::float[], %(waits)s::float[]) AS o (id, state, attempts, error, cursor, seconds, wait_s)
WHERE t.id = o.id AND t.state = 'running' AND t.lane_id = %(lane)s AND t.fence = %(fence)s
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """How one replay ended: in which state the target is left, and in how many seconds it may be tried again."""

    target: RolloutTarget
    state: TargetState
    attempts: int
    error: dict[str, Any] | None = None
    cursor: dict[str, Any] | None = None
    seconds: float | None = None
    wait_s: float | None = None

    @property
    def budget_class(self) -> str:
        """Of a failure."""
        return str(self.error["class"]) if self.error else OTHER


def arrived(target: RolloutTarget, seconds: float) -> Ended:
    return Ended(target, TargetState.SUCCEEDED, target.attempts + 1, seconds=seconds)


def given_back(target: RolloutTarget, *, cursor: dict[str, Any] | None = None) -> Ended:
    """Nothing failed, and it is not done: it waits for its next turn."""
    return Ended(target, TargetState.WAITING, target.attempts, cursor=cursor or target.cursor, error=target.error)


def failed(target: RolloutTarget, raised: Exception, seconds: float) -> Ended:
    """Tried again later with full jitter, while that may help; else failed, and its neighbours go on."""
    what, attempts = failure(raised), target.attempts + 1
    error = error_of(raised, what)
    if what.verdict is Verdict.TRY_AGAIN and attempts < MOST_ATTEMPTS:
        wait_s = (what.retry_after + jitter(attempts)).total_seconds()
        return Ended(target, TargetState.WAITING, attempts, error, target.cursor, seconds, wait_s)
    return Ended(target, TargetState.FAILED, attempts, error, target.cursor, seconds)


def error_of(raised: Exception, what: Failure) -> dict[str, Any]:
    """A target's `error`: the class the budget counts it in, the cause for an operator, and the cure."""
    metadata = getattr(raised, "metadata", {})
    said = {word: _text(metadata[word])[:LONGEST_SAID] for word in SAID if metadata.get(word)}
    return {"class": class_of(raised), "code": what.code, "detail": what.detail, "hint": what.hint, **said}


def class_of(raised: Exception) -> str:
    """In which class the budget counts it."""
    if isinstance(raised, TenureError):
        return getattr(raised, "budget_class", "") or str(trouble_of(raised))
    return LOST_CONNECTION if is_outage(raised) else OTHER


def record(ctx: StepContext, rollout: Rollout, batch: Sequence[Ended]) -> None:
    """Write a batch and which release things are on now, inside `ctx.control()`: with the fence, or not at all."""
    with prepared() as cursor:
        cursor.execute(
            RECORD,
            {
                "ids": [ended.target.pk for ended in batch],
                "states": [str(ended.state) for ended in batch],
                "attempts": [ended.attempts for ended in batch],
                "errors": [_dumped(ended.error) for ended in batch],
                "cursors": [_dumped(ended.cursor) for ended in batch],
                "seconds": [ended.seconds for ended in batch],
                "waits": [ended.wait_s for ended in batch],
                "lane": ctx.run_id,
                "fence": ctx.fence,
            },
        )
    there = [ended.target for ended in batch if ended.state == TargetState.SUCCEEDED]
    name = rollout.release.name
    if tenants := [target.tenant_id for target in there if target.tenant_id]:
        _on(name, tenants)
    if pools := [target.pool_id for target in there if target.pool_id]:
        Pool.objects.filter(pk__in=pools).update(release=name)
        _on(name, Placement.objects.filter(pool__in=pools, active=True).values("tenant"))
    _tell(ctx, rollout, [ended for ended in batch if ended.state == TargetState.FAILED])


def _on(release: str, tenants: Any) -> None:
    """Those still being onboarded have no release yet, and get theirs when they become active."""
    served = Tenant.objects.filter(pk__in=tenants).exclude(release="")
    served.update(release=release, version=F("version") + 1, updated_at=Now())


def _tell(ctx: StepContext, rollout: Rollout, batch: Sequence[Ended]) -> None:
    by_class: dict[str, list[UUID]] = defaultdict(list)
    for ended in batch:
        if ended.target.tenant_id is not None:
            by_class[ended.budget_class].append(ended.target.tenant_id)
        else:
            data = {"rollout": rollout.public_id, "class": ended.budget_class, "pool": str(ended.target.pool_id)}
            events.record_of_fleet(EventType.ROLLOUT_TARGET_FAILED, operation=ctx.run_id, data=data)
    for budget_class, tenants in by_class.items():
        data = {"rollout": rollout.public_id, "class": budget_class}
        events.record_together(EventType.ROLLOUT_TARGET_FAILED, tenant_ids=tenants, operation=ctx.run_id, data=data)


def _text(said: object) -> str:
    """Lines stay lines."""
    return "\n".join(map(str, said)) if isinstance(said, list) else str(said)


def _dumped(value: dict[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(value, cls=DjangoJSONEncoder)
