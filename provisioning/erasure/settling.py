"""After the phases: two clean checks give a live certificate, its days of looking again a final one, or a new round."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone

from provisioning.engine.telling import ENGINE
from provisioning.erasure import issuing
from provisioning.erasure.holds import family_of, held_records, relatives_at_work
from provisioning.erasure.issuing import Draft
from provisioning.erasure.payload import settles_at
from provisioning.erasure.stores import Verdict
from provisioning.models import ErasureRequest, ErasureState, ErasureStore, Judged, Recheck
from tenants import events
from tenants.actions import AuditAction
from tenants.events import EventType
from tenants.models import Tenant
from tenants.states import TenantState

SOAK = timedelta(minutes=15)  # the longest of task limits, signed contexts and the broker's redelivery
RECHECKS = {"day 1": timedelta(days=1), "day 7": timedelta(days=7), "day 30": timedelta(days=30)}
MOST_ROUNDS = 3  # in a row; then a person looks


def soak() -> timedelta:
    """How long late writers are waited for between the two checks."""
    return timedelta(seconds=float(getattr(settings, "TENURE_ERASURE_SOAK_S", SOAK.total_seconds())))


def locked(request: ErasureRequest) -> ErasureRequest:
    """The row as it is now, until the caller's transaction ends: others may have dated or extended it meanwhile."""
    request.refresh_from_db(from_queryset=ErasureRequest.objects.select_for_update(no_key=True))
    return request


def checked_once(request: ErasureRequest) -> None:
    """The first check was clean. Part of the caller's transaction, as all below."""
    now = timezone.now()
    _changed(request, checked_at=now, look_at=now + soak(), attention="")


def another_round(request: ErasureRequest, verdicts: Mapping[str, Verdict]) -> None:
    """Something is there: back to the erasers. Whatever the second check finds was written behind the first."""
    late = 0
    if locked(request).checked_at is not None:
        late = sum(t.n or 0 for each in verdicts.values() for t in each.remaining if t.action != "retain")
    fence = {**request.fence, "late_writes": request.fence.get("late_writes", 0) + late}
    request.to(
        ErasureState.ERASING,
        actor=ENGINE,
        round=request.round + 1,
        checked_at=None,
        fence=fence,
        look_at=timezone.now(),
    )


def settle(request: ErasureRequest, live: Draft) -> None:
    """Two clean checks: the live certificate, and the days on which to look again."""
    locked(request)
    issuing.keep(live, actor=ENGINE)
    now = timezone.now()
    rows = list(ErasureStore.objects.filter(request=request, round=request.round))
    last = max(now + max(RECHECKS.values()), settles_at(rows) or now)
    request.to(
        ErasureState.SETTLING,
        actor=ENGINE,
        certificate=live.document,
        retained_items=sum(row.retained for row in rows),
        settled_at=now,
        settles_at=last,
        attention="",
        look_at=now + min(RECHECKS.values()),
    )
    days = {now + after: why for why, after in RECHECKS.items()}
    days.setdefault(last, "residue")
    for due_at, why in days.items():
        Recheck.objects.get_or_create(request=request, due_at=due_at, defaults={"why": why})
    _take_over(request)
    if request.kind == "tenant":
        tenant = Tenant.objects.select_for_update().get(pk=request.tenant_id)
        if tenant.state == TenantState.ERASING:
            tenant.to(TenantState.ERASED)
            events.record(EventType.TENANT_ERASED, tenant_id=tenant.pk, operation=request.run_id)


def _take_over(request: ErasureRequest) -> None:
    """From now on this one alone is looked at again. See holds' Note [Who looks after what was erased]."""
    others = ErasureRequest.objects.filter(pk__in=family_of(request.pk) - {request.pk}, state=ErasureState.SETTLING)
    for other in others.select_for_update(no_key=True):
        other.rechecks.filter(done_at=None).delete()
        if _may_end(other):
            other.to(ErasureState.COMPLETED, actor=ENGINE, look_at=None)
        else:
            _changed(other, look_at=None)


def _may_end(request: ErasureRequest) -> bool:
    """While a person's records are held, the request's key must open the identifiers; a tenant is named by its id."""
    return request.kind == "tenant" or not held_records(request).exists()


def rechecked(request: ErasureRequest, recheck: Recheck, verdicts: Mapping[str, Verdict], final: Draft | None) -> None:
    """Clean, and the last day: the final certificate. Dirty: both certificates are void, and a new round begins."""
    if locked(request).state != ErasureState.SETTLING or relatives_at_work(request):
        return
    dirty = sorted(store for store, verdict in verdicts.items() if verdict.status != "clean")
    verdict = Judged.DIRTY if dirty else Judged.CLEAN
    done = Recheck.objects.filter(pk=recheck.pk, done_at=None)
    if not done.update(verdict=verdict, dirty=dirty, done_at=timezone.now()):
        return
    request.say(AuditAction.ERASURE_RECHECKED, actor=ENGINE)
    if dirty:
        _regress(request)
        return
    if (following := next_recheck(request)) is not None:
        _changed(request, look_at=following.due_at)
        return
    if final is None or not _may_end(request):
        _changed(request, look_at=None)
        return
    issuing.keep(final, actor=ENGINE)
    request.to(ErasureState.COMPLETED, actor=ENGINE, certificate=final.document, look_at=None)


def _regress(request: ErasureRequest) -> None:
    issuing.withdraw(request.pk, actor=ENGINE)
    certificate: dict[str, Any] = {**(request.certificate or {}), "regressed_at": timezone.now().isoformat()}
    request.rechecks.filter(done_at=None).delete()
    request.to(ErasureState.REGRESSED, actor=ENGINE, certificate=certificate, look_at=timezone.now())


def next_recheck(request: ErasureRequest) -> Recheck | None:
    return Recheck.objects.filter(request=request, done_at=None).order_by("due_at").first()


def is_last(request: ErasureRequest, recheck: Recheck) -> bool:
    return not Recheck.objects.filter(request=request, done_at=None).exclude(pk=recheck.pk).exists()


def due_recheck(request: ErasureRequest, now: datetime) -> Recheck | None:
    following = next_recheck(request)
    return following if following is not None and following.due_at <= now else None


def _changed(request: ErasureRequest, **changes: object) -> None:
    ErasureRequest.objects.filter(pk=request.pk).update(**changes)
    request.refresh_from_db()
