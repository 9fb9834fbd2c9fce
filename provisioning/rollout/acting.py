"""The frame of every act on a rollout: what is allowed, the lock, the audit entry, the event, and the run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from django.db import transaction

from provisioning.engine import bell
from provisioning.engine.start import start
from provisioning.errors import ReasonMissing
from provisioning.models import Queue, Rollout, RolloutState, Run
from provisioning.rollout import settling
from provisioning.rollout.workflow import ROLLOUT, RolloutInput
from tenants import events
from tenants.actions import ActorKind
from tenants.audit import Actor, AuditAction, ObjectType, typed
from tenants.audit import write as audit
from tenants.errors import StateConflict
from tenants.events import EventType

ACTIONS: dict[RolloutState, tuple[str, ...]] = {
    RolloutState.DRAFT: ("approve", "rehearse", "cancel"),
    RolloutState.RUNNING: ("pause", "cancel", "retry_failed", "skip_target"),
    RolloutState.PAUSED: ("resume", "cancel", "retry_failed", "skip_target"),
    RolloutState.SUCCEEDED: (),
    RolloutState.CANCELLED: (),
}


def actions_of_rollout(rollout: Rollout) -> list[str]:
    """What may be done with it now: the one answer for every door and for the functions above."""
    return list(ACTIONS[RolloutState(rollout.state)])


@contextmanager
def acting(rollout: Rollout, verb: str, action: AuditAction, *, actor: Actor, reason: str = "") -> Iterator[Rollout]:
    """The frame of an act: the row locked and read afresh, the act allowed, and afterwards written down."""
    with transaction.atomic():
        held = settling.locked(rollout)
        allow(held, verb)
        yield held
        audit(action, actor=actor, object=(ObjectType.ROLLOUT, held.pk), personal=typed(actor, reason))
    rollout.refresh_from_db()


def allow(rollout: Rollout, verb: str) -> None:
    if verb not in (allowed := actions_of_rollout(rollout)):
        raise StateConflict(
            f"Rollout {rollout.public_id} is {rollout.state} and cannot be asked to {verb.replace('_', ' ')}.",
            cure=f"What may be done now: {', '.join(allowed) or 'nothing'}.",
            state=rollout.state,
            actions=allowed,
        )


def asker_of(run: Run) -> Actor:
    """Who asked for a run, as far as its row says: without a name."""
    kind, _, identity = run.actor.partition(":")
    return Actor(kind=cast(ActorKind, kind), id=identity, name="")


def need(reason: str) -> None:
    if not reason.strip():
        raise ReasonMissing


def tell(rollout: Rollout, event: EventType, **more: str) -> None:
    events.record_of_fleet(event, operation=rollout.run_id, data={"rollout": rollout.public_id, **more})


def begin(rollout: Rollout, *, actor: Actor, reason: str = "", request_id: str = "") -> None:
    """A run, unless the former one is open: that one goes on, or ends, and then the sweeper begins another."""
    if rollout.run is not None and not rollout.run.ended:
        bell.ring_after_commit(Queue.FLEET)
        return
    rollout.run = start(
        ROLLOUT,
        input=RolloutInput(rollout_id=rollout.pk),
        lock_key=f"rollout:{rollout.pk}",
        actor=actor,
        key=f"rollout:{rollout.pk}:{rollout.version}",
        reason=reason,
        request_id=request_id,
    )
    Rollout.objects.filter(pk=rollout.pk).update(run=rollout.run)


def run_on(rollout: Rollout, *, actor: Actor, reason: str, request_id: str) -> None:
    changed(rollout, RolloutState.RUNNING, reason=reason[:500], pause_reason="", pause_detail="")
    begin(rollout, actor=actor, reason=reason[:500], request_id=request_id)
    tell(rollout, EventType.ROLLOUT_RESUMED)


def changed(rollout: Rollout, to: RolloutState, **changes: object) -> None:
    """From the state the locked row is in."""
    cleared = {"pause_reason": "", "pause_detail": ""} if rollout.state == RolloutState.PAUSED else {}
    settling.changed_from(rollout, RolloutState(rollout.state), to, **{**cleared, **changes})
