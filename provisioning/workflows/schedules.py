"""Dates on which a tenant is suspended or deleted by itself. The sweeper fires each of them once."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from provisioning.engine.sweep import SWEEPER
from provisioning.errors import OperationInProgress
from provisioning.models import LegalHold, Run, Schedule
from provisioning.workflows.accepting import as_uuid, need
from provisioning.workflows.leaving import KEEP_DAYS, MOST_DAYS, BadKeeping, delete_tenant, suspend
from provisioning.workflows.plans import VerbPlan
from tenants import events
from tenants.audit import Actor, AuditAction, ObjectType, Outcome
from tenants.audit import write as audit
from tenants.errors import StateConflict, TenureError
from tenants.events import EventType
from tenants.findings import Finding, Severity
from tenants.models import Tenant
from tenants.states import DeleteReason, TenantState

MOST_AT_ONCE = 100  # of one pass of the sweeper; the next comes in 5 s
LEAVES = (TenantState.DELETING, TenantState.DELETED, TenantState.ERASING, TenantState.ERASED)
EVENTS = {
    Schedule.Verb.SUSPEND: EventType.TENANT_SUSPENSION_SCHEDULED,
    Schedule.Verb.DELETE: EventType.TENANT_DELETION_SCHEDULED,
}


class InvalidSchedule(TenureError):
    """A verb is scheduled for a time that is still to come."""

    code = "VALIDATION_FAILED"
    cure = "Give a later time, with its offset from UTC; or use the verb itself, which acts now."


def schedule(
    *,
    tenant: Tenant,
    verb: Schedule.Verb,
    at: datetime,
    reason: str,
    actor: Actor,
    delete_reason: DeleteReason = DeleteReason.UNPAID,
    keep_days: int = KEEP_DAYS,
    request_id: str = "",
) -> Schedule:
    """Have the tenant suspended or deleted at a time. Whether it may be is judged then, not now.

    Raises InvalidSchedule, BadKeeping, ReasonMissing; StateConflict where it leaves already or the verb has a date.
    """
    need(reason)
    if at <= timezone.now():
        raise InvalidSchedule(f"{at:%Y-%m-%d %H:%M %Z} is over.", field="at")
    if not 0 <= keep_days <= MOST_DAYS:
        raise BadKeeping(field="keep_days")
    of_deletion = {"delete_reason": delete_reason, "keep_days": keep_days} if verb == Schedule.Verb.DELETE else {}
    with transaction.atomic():
        tenant = Tenant.objects.select_for_update().get(pk=tenant.pk)
        _refuse(tenant, verb)
        made = Schedule.objects.create(
            tenant=tenant, verb=verb, at=at, reason=reason, actor=str(actor), created_at=timezone.now(), **of_deletion
        )
        events.record(EVENTS[verb], tenant_id=tenant.pk, data={"at": at.isoformat()})
        _written(made, AuditAction.SCHEDULE_MADE, actor, request_id=request_id)
    return made


def plan_schedule(tenant: Tenant, verb: Schedule.Verb) -> VerbPlan:
    """What a date would come to as things are now, and what stands in the way of setting one."""
    blockers: tuple[Finding, ...] = ()
    try:
        _refuse(tenant, verb)
    except StateConflict as error:
        blockers = (Finding(error.code, Severity.ERROR, tenant.slug, str(error), error.cure),)
    until = "until then nothing changes, and the date can be called off"
    if verb == Schedule.Verb.SUSPEND:
        stays = "then an ordinary operation shuts every way in; its data stays, and it can be resumed"
        return VerbPlan(
            "tenant.schedule_suspend", f"the suspension of {tenant.slug}", (until, stays), blockers=blockers
        )
    steps = [until, "then an ordinary operation shuts every way in; it can be undeleted while its days last"]
    if tenant.deletion_protection:
        steps.append("its deletion protection is on: unless that is taken off before, the date comes to nothing")
    if LegalHold.objects.open(tenant.pk).exists():
        steps.append("a legal hold keeps it: the date waits until all are released")
    removes = (f"from that date on every way in to {tenant.slug}", "when its days are over, its data")
    about = f"the deletion of {tenant.slug}"
    return VerbPlan("tenant.schedule_delete", about, tuple(steps), removes=removes, blockers=blockers)


def cancel_schedule(*, schedule: Schedule, reason: str, actor: Actor, request_id: str = "") -> Schedule:
    """It does not fire. Raises StateConflict if it has, or was cancelled before."""
    need(reason)
    with transaction.atomic():
        _settle(schedule, Schedule.State.CANCELLED, note=reason)
        _written(schedule, AuditAction.SCHEDULE_CANCELLED, actor, request_id=request_id)
    return schedule


def dates_of(tenant: Tenant) -> QuerySet[Schedule]:
    """Those that wait, the next first."""
    return Schedule.objects.filter(tenant=tenant, state=Schedule.State.WAITING).order_by("at")


def _refuse(tenant: Tenant, verb: Schedule.Verb) -> None:
    """Raises StateConflict where no such date can be set."""
    if tenant.state in LEAVES:
        raise StateConflict(f"Tenant {tenant.slug} is {tenant.state}: no date can be set for it.")
    if (other := dates_of(tenant).filter(verb=verb).first()) is not None:
        cure = f"Cancel {other.public_id} first."
        raise StateConflict(f"Tenant {tenant.slug} has a date for this: {other.at:%Y-%m-%d %H:%M %Z}.", cure=cure)


def fire_due() -> None:
    """Start what is due. A deletion waits for legal holds: a person may shut what the law keeps, a date does not."""
    held = Exists(LegalHold.objects.filter(tenant=OuterRef("tenant"), released_at=None))
    due = Schedule.objects.filter(state=Schedule.State.WAITING, at__lte=Now())
    due = due.exclude(Q(held, verb=Schedule.Verb.DELETE)).order_by("at")
    for pk in due.values_list("pk", flat=True)[:MOST_AT_ONCE]:
        _fire(pk)


@transaction.atomic
def _fire(pk: UUID) -> None:
    """Once: the row is locked, its state compared. While another operation is at work it waits for the next pass."""
    rows = Schedule.objects.select_for_update(no_key=True, skip_locked=True)
    row = rows.filter(pk=pk, state=Schedule.State.WAITING).first()
    if row is None:
        return
    try:
        with transaction.atomic():
            run = _act(row)
    except OperationInProgress:
        return
    except TenureError as error:
        _settle(row, Schedule.State.REFUSED, note=f"{error} {error.cure}"[:500])
        _written(row, AuditAction.SCHEDULE_FIRED, SWEEPER, outcome=Outcome.REFUSED)
    else:
        _settle(row, Schedule.State.FIRED, operation=run)
        _written(row, AuditAction.SCHEDULE_FIRED, SWEEPER, operation=run.pk)


def _act(row: Schedule) -> Run:
    tenant, key = Tenant.objects.get(pk=row.tenant_id), f"schedule:{row.pk}"
    if row.verb == Schedule.Verb.SUSPEND:
        return suspend(tenant=tenant, reason=row.reason, actor=SWEEPER, key=key)
    return delete_tenant(
        tenant=tenant,
        reason=row.reason,
        actor=SWEEPER,
        key=key,
        delete_reason=DeleteReason(row.delete_reason),
        keep_days=KEEP_DAYS if row.keep_days is None else row.keep_days,
    )


def _settle(row: Schedule, state: Schedule.State, *, note: str = "", operation: Run | None = None) -> None:
    changed = Schedule.objects.filter(pk=row.pk, state=Schedule.State.WAITING).update(
        state=state, note=note, operation=operation, settled_at=Now()
    )
    if changed != 1:
        raise StateConflict(f"{row.public_id} does not wait any more.", cure="Read the tenant's schedules again.")
    row.refresh_from_db()


def _written(
    row: Schedule,
    action: AuditAction,
    actor: Actor,
    *,
    request_id: str = "",
    outcome: Outcome = Outcome.DONE,
    operation: UUID | None = None,
) -> None:
    Tenant.objects.filter(pk=row.tenant_id).update(version=F("version") + 1, updated_at=Now())
    audit(
        action,
        actor=actor,
        object=(ObjectType.SCHEDULE, row.pk),
        tenant=row.tenant_id,
        operation=operation,
        outcome=outcome,
        request=as_uuid(request_id),
    )
