"""Accept that a target differs from its release: from then on those lines are no drift, in every release to come."""

from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

from provisioning.errors import ReasonMissing
from provisioning.models import AdoptedDrift
from provisioning.rollout.drift import Standing, State, Target, stands
from tenants.actions import Actor, AuditAction, ObjectType
from tenants.audit import typed
from tenants.audit import write as audit
from tenants.errors import StateConflict


class NothingToAdopt(StateConflict):
    """The target does not differ from its release, or could not be looked at."""

    code = "NO_DRIFT"
    cure = "Nothing to do. `manage.py drift` shows how it stands."


def adopt(*, target: Target, reason: str, actor: Actor, standing: Standing | None = None) -> AdoptedDrift:
    """Accept the target as it is now, in place of what was accepted before. Raises NothingToAdopt, ReasonMissing.

    `standing` is how whoever accepts it has seen it: then nothing else is accepted, and no server is asked.
    """
    if not reason.strip():
        raise ReasonMissing
    if standing is None:
        standing = stands(target)
    if standing.state not in {State.DRIFTED, State.ADOPTED}:
        raise NothingToAdopt(f"{target.name} is {standing.state}. {standing.said}".strip())
    with transaction.atomic():
        _end(target)
        adopted = AdoptedDrift.objects.create(
            **target.owner,
            release=target.release,
            lines=list(standing.lines),
            stamp=standing.stamp,
            reason=reason,
            actor=str(actor),
        )
        told(AuditAction.DRIFT_ADOPTED, target, actor, findings=len(standing.lines), reason=reason)
    return adopted


def adopted_by(target: Target) -> AdoptedDrift | None:
    """What is accepted of this target now."""
    return AdoptedDrift.objects.filter(**target.owner, ended_at=None).first()


def carry_over(adopted: AdoptedDrift, *, release: str, stamp: str) -> None:
    """The target was brought to another release and differs from that one in the same lines."""
    AdoptedDrift.objects.filter(pk=adopted.pk, ended_at=None).update(release=release, stamp=stamp)


def give_up(target: Target) -> None:
    """The target is its release's again, so that nothing is accepted any more. Part of the caller's transaction."""
    _end(target)


def told(
    action: AuditAction,
    target: Target,
    actor: Actor,
    *,
    findings: int,
    reason: str = "",
    operation: UUID | None = None,
) -> None:
    """One audit entry about a target, in the caller's transaction."""
    about = ObjectType.POOL if target.pooled else ObjectType.TENANT
    audit(
        action,
        actor=actor,
        object=(about, target.pk),
        tenant=target.tenant_id,
        operation=operation,
        counts={"findings": findings},
        personal=typed(actor, reason),
    )


def _end(target: Target) -> None:
    AdoptedDrift.objects.filter(**target.owner, ended_at=None).update(ended_at=Now())
