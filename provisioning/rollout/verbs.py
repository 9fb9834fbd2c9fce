"""What a person may do with a rollout, one function each: lock the row, compare the state, change it, write it down.

Each may run inside the caller's transaction. Raises StateConflict for what the rollout's state does not allow, and
ReasonMissing where an act needs a reason.
"""

from __future__ import annotations

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from provisioning.models import PauseReason, Rollout, RolloutState, RolloutTarget, TargetState
from provisioning.rollout import settling
from provisioning.rollout.acting import acting, actions_of_rollout, allow, begin, changed, need, run_on, tell
from provisioning.rollout.errors import TargetsTaken
from provisioning.rollout.proposing import (
    approve_rollout,
    plan_approval,
    plan_now,
    plan_of,
    plan_rollout,
    propose_rollout,
    rehearse_rollout,
)
from provisioning.rollout.rehearsal import latest as latest_rehearsal
from provisioning.rollout.rehearsal import sweep_rehearsals
from provisioning.rollout.rehearsing import start_rehearsal
from tenants import events
from tenants.audit import Actor, AuditAction
from tenants.errors import StateConflict
from tenants.events import EventType

SWEEPER = Actor("system", "sweeper", "the sweeper")
NEEDS_REASON = (PauseReason.ERROR_BUDGET, PauseReason.VERIFICATION)


def pause_rollout(rollout: Rollout, *, actor: Actor, reason: str = "") -> Rollout:
    """No lane takes another target; those in work are finished."""
    with transaction.atomic():
        held = settling.locked(rollout)
        allow(held, "pause")
        settling.pause(held, PauseReason.OPERATOR, reason, actor=actor)
    return held


def resume_rollout(rollout: Rollout, *, actor: Actor, reason: str = "", request_id: str = "") -> Rollout:
    """Go on. After a breach that needs a reason, and what failed so far costs the budget nothing any more."""
    with acting(rollout, "resume", AuditAction.ROLLOUT_RESUMED, actor=actor, reason=reason) as held:
        if held.pause_reason in NEEDS_REASON:
            need(reason)
        failed = held.targets.filter(state=TargetState.FAILED)
        if held.pause_reason == PauseReason.FAILURES_LEFT and failed.exists():
            raise StateConflict(
                f"All waves of {held.public_id} are through; {failed.count()} targets failed.",
                cure="Retry or skip them, or cancel the rollout.",
                state=held.state,
            )
        failed.update(forgiven=True)
        run_on(held, actor=actor, reason=reason, request_id=request_id)
    return held


def retry_failed(rollout: Rollout, *, actor: Actor, reason: str = "", request_id: str = "") -> Rollout:
    """Every failed target waits again, with all its attempts; a rollout that stopped by itself goes on."""
    with acting(rollout, "retry_failed", AuditAction.ROLLOUT_RETRIED, actor=actor, reason=reason) as held:
        failed = held.targets.filter(state=TargetState.FAILED)
        try:
            with transaction.atomic():
                failed.update(
                    state=TargetState.WAITING, attempts=0, not_before=None, error=None, forgiven=False, finished_at=None
                )
        except IntegrityError:
            raise TargetsTaken("Another rollout has some of the failed targets.") from None
        if held.state == RolloutState.PAUSED and held.pause_reason != PauseReason.OPERATOR:
            run_on(held, actor=actor, reason=reason, request_id=request_id)
    return held


def skip_target(target: RolloutTarget, *, reason: str, actor: Actor) -> RolloutTarget:
    """Leave one waiting or failed target on the release it is on."""
    need(reason)
    action = AuditAction.ROLLOUT_TARGET_SKIPPED
    with acting(target.rollout, "skip_target", action, actor=actor, reason=reason) as held:
        left = held.targets.filter(pk=target.pk, state__in=(TargetState.WAITING, TargetState.FAILED))
        if not left.update(state=TargetState.SKIPPED, reason=reason[:500], blocked_by=None, finished_at=Now()):
            raise StateConflict(f"Target {target} is neither waiting nor failed.", state=target.state)
        data = {"rollout": held.public_id}
        if target.tenant_id is not None:
            kind = EventType.ROLLOUT_TARGET_SKIPPED
            events.record(kind, tenant_id=target.tenant_id, operation=held.run_id, data=data)
        else:
            tell(held, EventType.ROLLOUT_TARGET_SKIPPED, pool=str(target.pool_id))
    target.refresh_from_db()
    return target


def cancel_rollout(rollout: Rollout, *, reason: str, actor: Actor) -> Rollout:
    """Nothing more is begun; who arrived stays where it is, and everybody else on the release they are on."""
    need(reason)
    with acting(rollout, "cancel", AuditAction.ROLLOUT_CANCELLED, actor=actor, reason=reason) as held:
        changed(held, RolloutState.CANCELLED, reason=reason[:500], finished_at=Now())
        # What lanes have in work they finish; see `stand still` for what they give back.
        held.targets.filter(state=TargetState.WAITING).update(
            state=TargetState.SKIPPED, reason="The rollout was cancelled.", blocked_by=None, finished_at=Now()
        )
        tell(held, EventType.ROLLOUT_CANCELLED)
    return held


def keep_rollouts_going() -> None:
    """Whoever sweeps: a running rollout whose run has ended gets another. Any number of copies may ask."""
    for rollout in Rollout.objects.filter(state=RolloutState.RUNNING, run__finished_at__isnull=False):
        with transaction.atomic():
            held = settling.locked(rollout)
            if held.state == RolloutState.RUNNING:
                begin(held, actor=SWEEPER)


__all__ = [
    "actions_of_rollout", "approve_rollout", "cancel_rollout", "keep_rollouts_going", "latest_rehearsal",
    "pause_rollout", "plan_approval", "plan_now", "plan_of", "plan_rollout", "propose_rollout", "rehearse_rollout",
    "resume_rollout", "retry_failed", "skip_target", "start_rehearsal", "sweep_rehearsals",
]  # fmt: skip
