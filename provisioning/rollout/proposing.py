"""From what somebody asks for, by a plan that somebody else reads, to frozen targets."""

from __future__ import annotations

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from provisioning.databases.releases import TEXTS
from provisioning.errors import KeyReused, PlanChanged
from provisioning.models import Rehearsal, Release, Rollout, RolloutState
from provisioning.rollout import settling
from provisioning.rollout.acting import acting, allow, begin, tell
from provisioning.rollout.contracts import older_than_expand
from provisioning.rollout.errors import InvalidRollout, OlderStillRuns, RolloutRefused, SamePerson
from provisioning.rollout.freezing import freeze
from provisioning.rollout.plan import Frozen, RolloutPlan, plan
from provisioning.rollout.rehearsal import NORMAL, Limits, refuse_what_was_found, rehearse, with_estimate
from provisioning.rollout.selection import chosen
from provisioning.rollout.terms import Terms, shown
from tenants.audit import Actor, AuditAction, ObjectType
from tenants.audit import write as audit
from tenants.events import EventType


def propose_rollout(*, release: Release, terms: Terms, actor: Actor, key: str) -> Rollout:
    """A draft with its plan; records the paths that are missing, which takes as long as migrating does.

    The same (actor, key) gives the rollout that exists. Raises InvalidRollout, KeyReused.
    """
    asked = _asked(release, terms)
    asked.proposed_by, asked.key = actor.answerable, key
    if (known := _proposed(asked)) is not None:
        return known
    _keep(asked, plan_now(asked).plan)
    try:
        with transaction.atomic():
            asked.save(force_insert=True)
            audit(AuditAction.ROLLOUT_PROPOSED, actor=actor, object=(ObjectType.ROLLOUT, asked.pk))
    except IntegrityError:
        if (known := _proposed(asked)) is not None:
            return known
        raise
    asked.refresh_from_db()
    return asked


def plan_rollout(*, release: Release, terms: Terms) -> RolloutPlan:
    """What `propose_rollout` would keep. Writes nothing but the paths that are missing. Raises InvalidRollout."""
    return plan_now(_asked(release, terms)).plan


def plan_now(rollout: Rollout) -> Frozen:
    """What the rollout would do to the fleet as it is now. Writes nothing but the paths that are missing."""
    release = Release.objects.defer(*TEXTS).get(pk=rollout.release_id)
    fleet = chosen(rollout.selection, release=release.name, canary=rollout.canary)
    older = older_than_expand(release)
    return with_estimate(plan(release, fleet, waves=rollout.waves, terms=shown(rollout), older=older), rollout)


def plan_approval(rollout: Rollout) -> RolloutPlan:
    """A draft's plan made anew: what an approval would do now. StateConflict for one that was approved."""
    allow(rollout, "approve")
    return plan_now(rollout).plan


def plan_of(rollout: Rollout) -> RolloutPlan:
    """As `plan_approval`, and kept if the fleet has changed since."""
    fresh = plan_approval(rollout)
    if fresh.digest != rollout.plan_digest:
        _keep(rollout, fresh)
        draft = Rollout.objects.filter(pk=rollout.pk, state=RolloutState.DRAFT)
        draft.update(plan=rollout.plan, plan_digest=fresh.digest, version=F("version") + 1)
        rollout.refresh_from_db()
    return fresh


def rehearse_rollout(rollout: Rollout, *, k: int = 3, actor: Actor, limits: Limits = NORMAL) -> Rehearsal:
    """Walk a draft on copies, in this process; the plan then has an estimate. See `rehearsal.rehearse`."""
    return rehearse(rollout, plan_now(rollout), k=k, actor=actor, limits=limits)


def approve_rollout(
    rollout: Rollout, *, digest: str, actor: Actor, request_id: str = "", override: str = ""
) -> Rollout:
    """Freeze the targets and begin. `digest` is of the plan that the approver has read.

    `override` is why what a rehearsal found does not matter. Raises PlanChanged, SamePerson, RolloutRefused,
    OlderStillRuns, RehearsalObjects, TargetsTaken. Approved again: the same rollout.
    """
    if rollout.approved_by == actor.answerable and rollout.plan_digest == digest:
        return rollout
    single = rollout.proposed_by == actor.answerable
    if single and not settings.TENURE_SINGLE_OPERATOR:
        raise SamePerson
    allow(rollout, "approve")
    frozen = plan_now(rollout)
    if digest != frozen.plan.digest:
        raise PlanChanged
    _refuse(frozen.plan)
    with acting(rollout, "approve", AuditAction.ROLLOUT_APPROVED, actor=actor) as held:
        refuse_what_was_found(held, override=override, actor=actor)
        _keep(held, frozen.plan)
        last = max((wave for _target, wave in frozen.targets), default=0)
        settling.changed_from(
            held,
            RolloutState.DRAFT,
            RolloutState.RUNNING,
            plan=held.plan,
            plan_digest=digest,
            approved_by=actor.answerable,
            approved_at=Now(),
            single_operator=single,
            last_wave=last,
        )
        freeze(held, frozen)
        begin(held, actor=actor, request_id=request_id)
        tell(held, EventType.ROLLOUT_APPROVED)
    return held


def _refuse(plan: RolloutPlan) -> None:
    if plan.older:
        more = len(plan.older)
        raise OlderStillRuns(
            f"{more} of the fleet run a release from before the expand: {', '.join(plan.older[:5])}.",
            running=list(plan.older),
        )
    if plan.refusals:
        first = plan.refusals[0]
        raise RolloutRefused(first.reason, cure=first.instead, refusals=[refusal.reason for refusal in plan.refusals])


def _asked(release: Release, terms: Terms) -> Rollout:
    """A row that nobody has saved."""
    if release.state != Release.State.PUBLISHED:
        raise InvalidRollout(f"Release {release} is {release.state}, not published.", field="release")
    return Rollout(release=release, **terms.row(now=timezone.now()))


def _proposed(asked: Rollout) -> Rollout | None:
    known = Rollout.objects.select_related("release").filter(proposed_by=asked.proposed_by, key=asked.key).first()
    if known is not None and (known.release_id, shown(known)) != (asked.release_id, shown(asked)):
        raise KeyReused(f"This key proposed {known.public_id} before.", rollout=known.public_id)
    return known


def _keep(rollout: Rollout, plan: RolloutPlan) -> None:
    rollout.plan, rollout.plan_digest = plan.row(), plan.digest
