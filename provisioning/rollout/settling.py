"""What a rollout does by itself: stop over its budget, end a wave once it is verified, and end.

Each change compares the state before it sets the next, so that any number of lanes may find the same thing at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import F
from django.db.models.functions import Now

from provisioning.databases.releases import TEXTS
from provisioning.engine.rows import answer
from provisioning.engine.telling import ENGINE
from provisioning.engine.workflow import StepContext
from provisioning.models import PauseReason, Rollout, RolloutState, RolloutTarget, TargetState
from provisioning.rollout import seams
from provisioning.rollout.budget import DRIFT, Budget
from provisioning.rollout.claiming import placed
from provisioning.rollout.freezing import join_late
from provisioning.rollout.progress import toll_of
from tenants import events
from tenants.audit import Actor, AuditAction, ObjectType, typed
from tenants.audit import write as audit
from tenants.events import EventType

UNREAD = ("plan", *(f"release__{name}" for name in TEXTS))  # long; who needs one of them reads it then
SAMPLE = 3  # targets of a wave that are looked at again, in the databases themselves
NAMED = 5
DIFFERS = "Something else changed it after it was recorded. Find out what, repair it, then retry."

AS_IT_IS = "SELECT state, wave, version FROM provisioning_rollout WHERE id = %s"
STILL_AS = f"{AS_IT_IS} AND state = %s AND wave = %s FOR NO KEY UPDATE"
NEXT_WAVE = "UPDATE provisioning_rollout SET wave = wave + 1, version = version + 1 WHERE id = %s RETURNING true"
# No row while something is left to do of this wave or of one before: then nothing else is counted, however large it is.
LOOK = """
SELECT (SELECT count(*) FROM provisioning_rollouttarget t WHERE t.rollout_id = %(rollout)s AND t.wave = %(wave)s),
    EXISTS (
        SELECT FROM provisioning_rollouttarget t
        WHERE t.rollout_id = %(rollout)s AND t.state = 'failed' AND NOT t.forgiven),
    ARRAY(
        SELECT coalesce(n.slug, p.schema) FROM provisioning_rollouttarget t
        LEFT JOIN tenants_tenant n ON n.id = t.tenant_id LEFT JOIN tenants_pool p ON p.id = t.pool_id
        WHERE t.rollout_id = %(rollout)s AND t.wave = %(wave)s AND t.state = 'succeeded'
            AND coalesce(n.release, p.release) <> %(release)s
        LIMIT %(named)s)
WHERE NOT EXISTS (
    SELECT FROM provisioning_rollouttarget t
    WHERE t.rollout_id = %(rollout)s AND t.wave <= %(wave)s AND t.state IN ('waiting', 'running'))
"""


@dataclass(frozen=True, slots=True)
class WaveSeen:
    """The current wave, through. `elsewhere` names the first that arrived and are recorded on another release.

    `costs`: something failed, in whichever wave, that counts against the budget.
    """

    targets: int
    costs: bool
    elsewhere: list[str]


def stop_over_budget(ctx: StepContext, rollout: Rollout) -> bool:
    """Pause the rollout if it has cost more than it may. Inside `ctx.control()`."""
    breach = Budget.of(rollout.max_failures).breach(toll_of(rollout))
    return bool(breach) and pause(rollout, PauseReason.ERROR_BUDGET, breach, actor=ENGINE, ctx=ctx)


def settle(ctx: StepContext, rollout: Rollout) -> bool:
    """End the current wave of a rollout that runs, if nothing of it is left to do: on to the next, or to the end.

    Whether the rollout has changed since it was read, by whomever: there may be something to take now.
    """
    if _look(rollout) is None:
        return False
    wrong = _differing(rollout)
    with ctx.control():
        if answer(STILL_AS, [rollout.pk, rollout.state, rollout.wave]) is None:
            return True
        seen = _look(rollout)
        if seen is None:
            return False
        if wrong:
            return _distrust(ctx, rollout, wrong)
        if seen.elsewhere:
            detail = f"Recorded on another release than {rollout.release.name}: {', '.join(seen.elsewhere)}."
            return pause(rollout, PauseReason.VERIFICATION, detail, actor=ENGINE, ctx=ctx)
        return (seen.costs and stop_over_budget(ctx, rollout)) or _go_on(ctx, rollout, targets=seen.targets)


def look_again(rollout: Rollout) -> bool:
    """Bring up to date what changes of a rollout once it was approved. Whether anything has."""
    before = rollout.version
    rollout.state, rollout.wave, rollout.version = answer(AS_IT_IS, [rollout.pk]) or ("", 0, 0)
    return rollout.version != before


def pause(rollout: Rollout, why: PauseReason, detail: str, *, actor: Actor, ctx: StepContext | None = None) -> bool:
    """From running to paused, said why; False if it was not running. Audited, in the caller's transaction."""
    changed = changed_from(
        rollout, RolloutState.RUNNING, RolloutState.PAUSED, pause_reason=why, pause_detail=detail[:500]
    )
    if changed:
        data = {"rollout": rollout.public_id, "reason": str(why)}
        events.record_of_fleet(EventType.ROLLOUT_PAUSED, operation=ctx.run_id if ctx else rollout.run_id, data=data)
        said = typed(actor, detail) if why == PauseReason.OPERATOR else None
        audit(AuditAction.ROLLOUT_PAUSED, actor=actor, object=(ObjectType.ROLLOUT, rollout.pk), personal=said)
    return changed


def changed_from(rollout: Rollout, state: RolloutState, to: RolloutState, **changes: object) -> bool:
    """Compare and set; the row that was given is brought up to date."""
    rows = Rollout.objects.filter(pk=rollout.pk, state=state).update(state=to, version=F("version") + 1, **changes)
    rollout.refresh_from_db(fields=["state", "version", *changes])
    return rows == 1


def locked(rollout: Rollout) -> Rollout:
    """The row as it is now, held until the transaction ends."""
    rows = Rollout.objects.select_for_update(no_key=True, of=("self",)).select_related("release")
    found: Rollout = rows.defer(*UNREAD).get(pk=rollout.pk)
    return found


def _look(rollout: Rollout) -> WaveSeen | None:
    """None while the wave is not through."""
    asked: dict[str, Any] = {
        "rollout": rollout.pk,
        "wave": rollout.wave,
        "release": rollout.release.name,
        "named": NAMED,
    }
    found = answer(LOOK, asked)
    return WaveSeen(*found) if found else None


def _go_on(ctx: StepContext, rollout: Rollout, *, targets: int) -> bool:
    if targets:
        data = {"rollout": rollout.public_id, "wave": rollout.wave, "targets": targets}
        events.record_of_fleet(EventType.ROLLOUT_WAVE_COMPLETED, operation=ctx.run_id, data=data)
    if rollout.wave < rollout.last_wave:
        answer(NEXT_WAVE, [rollout.pk])
    elif not join_late(rollout):
        _end(ctx, rollout)
    return True


def _end(ctx: StepContext, rollout: Rollout) -> None:
    """Success is that nobody is left behind, or somebody said why. What failed within the budget waits for a person."""
    failed = rollout.targets.filter(state=TargetState.FAILED).count()
    if failed:
        detail = f"All waves are through; {failed} targets failed. Retry or skip them, or cancel."
        pause(rollout, PauseReason.FAILURES_LEFT, detail, actor=ENGINE, ctx=ctx)
        return
    changed_from(rollout, RolloutState.RUNNING, RolloutState.SUCCEEDED, finished_at=Now())
    events.record_of_fleet(EventType.ROLLOUT_SUCCEEDED, operation=ctx.run_id, data={"rollout": rollout.public_id})
    counts = {"targets": rollout.targets.count()}
    audit(AuditAction.ROLLOUT_SUCCEEDED, actor=ENGINE, object=(ObjectType.ROLLOUT, rollout.pk), counts=counts)


def _differing(rollout: Rollout) -> list[tuple[RolloutTarget, str]]:
    """A sample of the wave's targets that are not what they were recorded as, and how they differ."""
    there = "rollout_id = %s AND wave = %s AND state = 'succeeded' ORDER BY random() LIMIT %s"
    sample = placed(rollout, there, [rollout.pk, rollout.wave, SAMPLE])
    looked_at = [(target, seams.replayer.difference(target, rollout.release)) for target in sample]
    return [(target, difference) for target, difference in looked_at if difference]


def _distrust(ctx: StepContext, rollout: Rollout, wrong: list[tuple[RolloutTarget, str]]) -> bool:
    for target, difference in wrong:
        error = {
            "class": DRIFT,
            "code": "VERIFICATION_FAILED",
            "detail": f"It is not on {rollout.release}.",
            "hint": DIFFERS,
            "difference": difference[:4_000],
        }
        rollout.targets.filter(pk=target.pk, state=TargetState.SUCCEEDED).update(state=TargetState.FAILED, error=error)
    names = ", ".join(str(target.tenant or target.pool) for target, _difference in wrong)
    return pause(rollout, PauseReason.VERIFICATION, f"Not as recorded: {names}.", actor=ENGINE, ctx=ctx)
