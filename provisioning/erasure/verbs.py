"""What a person may do with a request, one function each: lock the row, compare the state, change it, write it down.

Each may run inside the caller's transaction, and is idempotent by (actor, key). Raises StateConflict for what the state
does not allow, PastTheBar (409) for cancelling once something was destroyed.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import IntegrityError, transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from provisioning.engine import control
from provisioning.erasure import deadlines, hold_archive, plan
from provisioning.erasure.acting import Repeated, acting, allow, refuse_repeat
from provisioning.erasure.clock import clock_of
from provisioning.erasure.errors import InvalidErasure, PastTheBar, PlanBlocked, SamePerson
from provisioning.erasure.holds import held_records, refuse_held, releasable
from provisioning.erasure.intake import ErasureWish, follow_up, request_erasure
from provisioning.erasure.people import person_of
from provisioning.errors import PastPivot, PlanChanged
from provisioning.models import (
    DeadlinePolicy,
    ErasureApproval,
    ErasurePlan,
    ErasureRequest,
    ErasureState,
    ExtensionReason,
    Recheck,
    RecordHold,
    RunState,
)
from provisioning.models.erasure_states import REPLAYED
from tenants.actions import Actor, AuditAction
from tenants.errors import StateConflict

REASONS = frozenset({"not_entitled", "identity_not_proved", "excessive", "withdrawn", "mistake", "kept_by_law"})
"""Codes of why a request is closed; a sentence would be one more place for a name."""


def prove_identity(request: ErasureRequest, *, evidence: UUID, actor: Actor, key: str) -> ErasureRequest:
    """Whoever asked is the one: `evidence` is the id of the proof, which is kept elsewhere."""
    with suppress(Repeated), acting(request, "prove_identity", actor=actor, key=key) as held:
        held.to(ErasureState.PLANNING, actor=actor, identity_evidence=evidence, look_at=Now())
        held.say(AuditAction.ERASURE_IDENTITY_PROVED, actor=actor)
    return request


def propose_erasure(request: ErasureRequest, *, actor: Actor, key: str) -> ErasureRequest:
    """Freeze the plan as it was counted last, for somebody else to approve. Raises PlanBlocked, LegalHold."""
    with suppress(Repeated), acting(request, "propose", actor=actor, key=key) as held:
        refuse_held(held)
        if held.counted is None:
            raise PlanBlocked(f"The plan of {held.public_id} is being counted.", cure="Try again in a moment.")
        if blockers := held.counted["blockers"]:
            raise PlanBlocked(f"{len(blockers)} things stand in the way.", blockers=blockers)
        by = person_of(actor).pk
        document, digest = plan.frozen(held.counted, proposed_by=by, nth=held.plans.count() + 1)
        ErasurePlan.objects.create(request=held, digest=digest, proposed_by=by, document=document)
        held.to(ErasureState.AWAITING_APPROVAL, actor=actor, plan_digest=digest, look_at=Now())
    return request


def plan_of_erasure(request: ErasureRequest) -> ErasurePlan | None:
    """What awaits approval, or was approved; None while nobody has proposed."""
    if request.plan_digest is None:
        return None
    return ErasurePlan.objects.get(request=request, digest=bytes(request.plan_digest))


def approve_erasure(request: ErasureRequest, *, digest: bytes, actor: Actor, key: str) -> ErasureRequest:
    """One person's word for another's plan: its grace begins. `digest` is of the plan that was read, 32 bytes.

    Raises PlanChanged, SamePerson, LegalHold.
    """
    with suppress(Repeated), acting(request, "approve", actor=actor, key=key) as held:
        frozen = plan_of_erasure(held)
        if frozen is None or digest != bytes(frozen.digest):
            raise PlanChanged
        by = person_of(actor).pk
        if by in {held.requested_by, frozen.proposed_by}:
            raise SamePerson
        refuse_held(held)
        try:
            with transaction.atomic():
                approval = ErasureApproval.objects.create(
                    request=held,
                    digest=digest,
                    requested_by=held.requested_by,
                    proposed_by=frozen.proposed_by,
                    approved_by=by,
                )
        except IntegrityError as error:  # what the check above does not see, the database does
            raise SamePerson from error
        starts_at = clock_of(held).start_after(held.grace, approved_at=timezone.now())
        held.to(
            ErasureState.SCHEDULED, actor=actor, approval_id=approval.pk, starts_at=starts_at, look_at=timezone.now()
        )
    return request


def reject_erasure(request: ErasureRequest, *, reason: str, actor: Actor, key: str) -> ErasureRequest:
    """Nothing is erased; `reason` is one of REASONS. Raises InvalidErasure."""
    _check_reason(reason)
    with suppress(Repeated), acting(request, "reject", actor=actor, key=key) as held:
        held.to(ErasureState.REJECTED, actor=actor, reason=reason)
    return request


def cancel_erasure(request: ErasureRequest, *, reason: str, actor: Actor, key: str) -> ErasureRequest:
    """Call it off, up to the bar. Of an operation under way all that was changed is taken back. Raises PastTheBar."""
    _check_reason(reason)
    with suppress(Repeated):
        refuse_repeat(request, "cancel", actor=actor, key=key)
        with transaction.atomic():
            seen = _stop(request, actor=actor)
            with acting(request, "cancel", actor=actor, key=key) as held:
                if held.state != seen:  # its operation began between the two, and was not told
                    raise StateConflict(f"Erasure {held.public_id} changed at the same moment.", cure="Try again.")
                held.to(ErasureState.CANCELLED, actor=actor, reason=reason)
    return request


def _stop(request: ErasureRequest, *, actor: Actor) -> str:
    """The engine judges the race with the bar: once its pivot has begun, nobody cancels. Returns the state it saw.

    The run is locked before the request, as everywhere in the engine.
    """
    request.refresh_from_db()
    allow(request, "cancel")
    run = request.run
    if request.state != ErasureState.FREEZING or run is None or run.ended:
        return request.state
    take_back = control.undo if run.state == RunState.PARKED else control.cancel
    try:
        take_back(run, reason="The erasure was cancelled.", actor=actor)
    except PastPivot as error:
        raise PastTheBar(f"Erasure {request.public_id} has begun to destroy.", state=request.state) from error
    return request.state


def extend_erasure(
    request: ErasureRequest,
    *,
    months: int,
    reason: ExtensionReason,
    notice_sent_at: datetime,
    actor: Actor,
    key: str,
) -> ErasureRequest:
    """Once, by 1 or 2 months, when whoever asked was told why before the first due date. Raises BadExtension."""
    with suppress(Repeated), acting(request, "extend", actor=actor, key=key) as held:
        if held.extended_until is not None or held.policy != DeadlinePolicy.EU:
            raise deadlines.BadExtension
        if notice_sent_at > held.due_at or notice_sent_at > timezone.now():
            raise deadlines.BadExtension("The notice must be sent before the due date, and not later than now.")
        until = deadlines.extended(held.due_at, zone=ZoneInfo(held.time_zone), months=months)
        changes = {"extended_until": until, "extension_reason": reason, "notice_sent_at": notice_sent_at}
        ErasureRequest.objects.filter(pk=held.pk).update(version=F("version") + 1, **changes)
        held.say(AuditAction.ERASURE_EXTENDED, actor=actor)
    return request


def hold_records(
    request: ErasureRequest,
    *,
    store: str,
    locator: str,
    record: str = "",
    ground: str,
    review_at: datetime,
    actor: Actor,
    key: str,
) -> RecordHold:
    """Keep some records although the rest goes; what was approved is void. Raises InvalidErasure, PlanBlocked.

    One person's stay where they are. A tenant's move to an archive: rows of a table, or the one whose key is `record`.
    """
    if not ground.strip() or not store or not locator:
        raise InvalidErasure("A hold names a store, a place in it, and a ground.", field="ground")
    if review_at <= timezone.now():
        raise InvalidErasure("A hold is looked at again on a day that is to come.", field="review_at")
    named = {"store": store, "locator": locator, "record": record}
    with suppress(Repeated), acting(request, "hold_records", actor=actor, key=key) as held:
        there = _counted_at(held, store, locator)
        hold_archive.refuse_place(held, **named, there=there)
        _refuse_twice(held, store, locator, record)
        RecordHold.objects.get_or_create(
            request=held,
            released_at=None,
            **named,
            defaults={"ground": ground.strip(), "review_at": review_at, "placed_by": person_of(actor).pk},
        )
        held.say(AuditAction.RECORDS_HELD, actor=actor)
        _plan_anew(held, actor=actor)
    return RecordHold.objects.filter(request=request, **named).latest("placed_at")


def release_records(hold: RecordHold, *, actor: Actor, key: str) -> ErasureRequest:
    """They go as well: with the rest where that is still to come, else by a follow-up request, which is returned.

    Its due date is the original one's; it is proposed and approved like any other. If that one is rejected or
    cancelled, releasing once more opens another.
    """
    request = hold.request
    with suppress(Repeated), acting(request, "release_records", actor=actor, key=key) as held:
        by = person_of(actor).pk
        given_up = releasable(held).filter(pk=hold.pk).exclude(released_at=None).exists()
        open_one = RecordHold.objects.filter(pk=hold.pk, released_at=None)
        if open_one.update(released_at=Now(), released_by=by) or given_up:
            held.say(AuditAction.RECORDS_RELEASED, actor=actor)
            if held.destroy_started_at is None and held.reason != REPLAYED:
                _plan_anew(held, actor=actor)
            else:
                follow_up(held, actor=actor, key=key, by=by)
    hold.refresh_from_db()
    return request.followed_by.order_by("created_at").last() or request


def recheck_erasure(request: ErasureRequest, *, actor: Actor, key: str) -> Recheck:
    """Have all verifiers look again, now. The sweeper does it."""
    with suppress(Repeated), acting(request, "recheck", actor=actor, key=key) as held:
        Recheck.objects.create(request=held, due_at=timezone.now() - timedelta(microseconds=1), why="asked")
        held.say(AuditAction.ERASURE_RECHECK_ASKED, actor=actor)
        ErasureRequest.objects.filter(pk=held.pk).update(look_at=Now())
    return request.rechecks.filter(why="asked").latest("due_at")


def _plan_anew(request: ErasureRequest, *, actor: Actor) -> None:
    """What was counted, proposed or approved before holds no more."""
    if request.state in {ErasureState.BLOCKED, ErasureState.AWAITING_APPROVAL, ErasureState.SCHEDULED}:
        request.to(ErasureState.PLANNING, actor=actor, look_at=Now())
    elif request.state == ErasureState.PLANNING:
        ErasureRequest.objects.filter(pk=request.pk).update(counted=None, look_at=Now(), version=F("version") + 1)


def _counted_at(request: ErasureRequest, store: str, locator: str) -> int | None:
    """How many the plan has there. A hold upon what nobody has found would keep nothing, and nobody would notice."""
    frozen = plan_of_erasure(request)
    counted = frozen.document if frozen is not None else request.counted
    if counted is None:
        raise PlanBlocked(f"The plan of {request.public_id} is being counted.", cure="Try again in a moment.")
    places = {(each["store"], tally["locator"]): tally["n"] for each in counted["stores"] for tally in each["tallies"]}
    if (store, locator) not in places:
        raise InvalidErasure(
            "The plan names no such place.", cure="Name store and place as the plan does.", field="locator"
        )
    return places[store, locator]  # type: ignore[no-any-return]  # of JSON


def _refuse_twice(request: ErasureRequest, store: str, locator: str, record: str) -> None:
    """All of a place and one record of it: the record would be kept, and counted, twice."""
    held = held_records(request).filter(store=store, locator=locator)
    if held.exclude(record=record).exists() and (not record or held.filter(record="").exists()):
        cure = "Release the other hold on it first, or leave it at that one."
        raise InvalidErasure(f"{locator} is held already, in whole or in part.", cure=cure, field="locator")


def _check_reason(reason: str) -> None:
    if reason not in REASONS:
        cure = f"Use one of: {', '.join(sorted(REASONS))}."
        raise InvalidErasure("The reason is none of the words that are kept.", cure=cure, field="reason")


__all__ = [
    "REASONS", "ErasureWish", "approve_erasure", "cancel_erasure", "extend_erasure", "hold_records",
    "plan_of_erasure", "propose_erasure", "prove_identity", "recheck_erasure", "reject_erasure", "release_records",
    "request_erasure",
]  # fmt: skip
