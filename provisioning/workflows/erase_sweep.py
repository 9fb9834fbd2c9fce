"""What erasure requests wait for: one pass over those that are due a look. Any number of copies may run.

A request is locked while it is looked at, and its next date is written before anything else is done with it, so that
one that fails stands in nobody's way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from provisioning.engine.start import start
from provisioning.engine.sweep import SWEEPER
from provisioning.engine.workflow import Workflow
from provisioning.erasure import hold_archive, holds, settling
from provisioning.errors import OperationInProgress
from provisioning.models import CLOSED, ErasureRequest, ErasureState
from provisioning.models.erasure_states import REPLAYED
from provisioning.workflows.accepting import limit_of, lock_of
from provisioning.workflows.erase import ERASE, ERASE_AGAIN
from provisioning.workflows.erase_freezing import EraseInput
from provisioning.workflows.erase_looks import CHECK_ERASURE, PLAN_ERASURE, LookInput, destroy_key, forgotten
from provisioning.workflows.erase_purges import request_purges
from provisioning.workflows.leaving import suspend
from tenants.models import Tenant
from tenants.states import TenantState

MOST_AT_ONCE = 100  # of one pass; the next comes in 5 s
SOON = timedelta(seconds=30)
IN_A_WHILE = timedelta(minutes=5)
FORGET_AFTER = timedelta(days=30)  # closed requests: until then whoever asked may ask why


@dataclass(frozen=True, slots=True)
class Erasing:
    """The workflows that a pass starts; tests bring theirs, over small registries."""

    erase: Workflow = ERASE
    again: Workflow = ERASE_AGAIN
    plan: Workflow = PLAN_ERASURE
    check: Workflow = CHECK_ERASURE


def sweep_erasures(workflows: Erasing | None = None) -> None:
    """Begin what is due: purges, counts, graces that are over, second checks, days of looking again, forgetting."""
    workflows = workflows or Erasing()
    request_purges()
    forgettable = Q(state__in=CLOSED, key_destroyed_at=None, finished_at__lt=Now() - FORGET_AFTER)
    due = ErasureRequest.objects.filter(Q(look_at__lte=Now()) & ~Q(state__in=CLOSED) | forgettable)
    for pk in due.order_by("look_at").values_list("pk", flat=True)[:MOST_AT_ONCE]:
        _look(pk, workflows)


@transaction.atomic
def _look(pk: UUID, workflows: Erasing) -> None:
    rows = ErasureRequest.objects.select_for_update(no_key=True, skip_locked=True)
    request = rows.filter(pk=pk).first()
    if request is None or (look := LOOKS.get(ErasureState(request.state))) is None:
        return
    _put_off(request, SOON)
    if request.run is not None and not request.run.ended:
        return  # its operation is under way, or waits for a person
    try:
        with transaction.atomic():
            look(request, workflows)
    except OperationInProgress:
        request.refresh_from_db()


def _planning(request: ErasureRequest, workflows: Erasing) -> None:
    if request.counted is None:
        _start(workflows.plan, LookInput(request.pk), request, locking=False)
        _put_off(request, IN_A_WHILE)


def _blocked(request: ErasureRequest, workflows: Erasing) -> None:
    """A legal hold is asked for by itself: nobody counts for years what a law keeps."""
    if not holds.open_holds(request.tenant_id):
        _start(workflows.plan, LookInput(request.pk), request, locking=False)
        _put_off(request, IN_A_WHILE)


def _awaiting(request: ErasureRequest, _workflows: Erasing) -> None:
    if holds.open_holds(request.tenant_id):
        request.to(ErasureState.PLANNING, actor=SWEEPER, look_at=timezone.now())


def _scheduled(request: ErasureRequest, workflows: Erasing) -> None:
    """Shut meanwhile; begun when the grace is over."""
    if holds.open_holds(request.tenant_id):
        request.to(ErasureState.PLANNING, actor=SWEEPER, look_at=timezone.now())
        return
    tenant = Tenant.objects.get(pk=request.tenant_id)
    if request.kind == "tenant" and tenant.state == TenantState.ACTIVE:
        suspend(tenant=tenant, reason="Its erasure was approved.", actor=SWEEPER, key=f"erasure:{uuid4()}")
        return
    if request.starts_at is None or request.starts_at > timezone.now():
        return
    request.to(ErasureState.FREEZING, actor=SWEEPER, round=1, fence={}, checked_at=None)
    _start(workflows.erase, EraseInput(request.pk), request)


def _freezing(request: ErasureRequest, _workflows: Erasing) -> None:
    """Its operation has ended, and did not say so: a person called it ended, or cancelled it before it began."""
    request.to(ErasureState.PLANNING, actor=SWEEPER, look_at=timezone.now())


def _erasing(request: ErasureRequest, workflows: Erasing) -> None:
    _start(workflows.again, EraseInput(request.pk), request)


def _regressed(request: ErasureRequest, workflows: Erasing) -> None:
    request.to(ErasureState.ERASING, actor=SWEEPER, round=request.round + 1, checked_at=None)
    _start(workflows.again, EraseInput(request.pk), request)


def _checking(request: ErasureRequest, workflows: Erasing) -> None:
    if request.checked_at is not None and timezone.now() >= request.checked_at + settling.soak():
        _start(workflows.check, LookInput(request.pk), request)


def _settling(request: ErasureRequest, workflows: Erasing) -> None:
    if holds.relatives_at_work(request):
        _put_off(request, IN_A_WHILE)
    elif (recheck := settling.due_recheck(request, timezone.now())) is not None:
        _start(workflows.check, LookInput(request.pk, recheck.pk), request, locking=False)
    elif (following := settling.next_recheck(request)) is not None:
        ErasureRequest.objects.filter(pk=request.pk).update(look_at=following.due_at)


def _closed(request: ErasureRequest, _workflows: Erasing) -> None:
    if request.reason != REPLAYED:  # of such a request the archive is all that is left
        hold_archive.throw_away(request, write=transaction.atomic)
    destroy_key(request)
    forgotten(request)


Look = Callable[[ErasureRequest, Erasing], None]
LOOKS: dict[ErasureState, Look] = {
    ErasureState.PLANNING: _planning,
    ErasureState.BLOCKED: _blocked,
    ErasureState.AWAITING_APPROVAL: _awaiting,
    ErasureState.SCHEDULED: _scheduled,
    ErasureState.FREEZING: _freezing,
    ErasureState.ERASING: _erasing,
    ErasureState.CHECKING: _checking,
    ErasureState.SETTLING: _settling,
    ErasureState.REGRESSED: _regressed,
    ErasureState.REJECTED: _closed,
    ErasureState.CANCELLED: _closed,
    ErasureState.MERGED: _closed,
}


def _start(workflow: Workflow, given: object, request: ErasureRequest, *, locking: bool = True) -> None:
    """Part of the transaction that locks the request. Raises OperationInProgress while the tenant is busy."""
    tenant = request.tenant
    run = start(
        workflow,
        input=given,
        tenant_id=tenant.pk,
        lock_key=lock_of(tenant) if locking else None,
        limit_key=limit_of(tenant),
        actor=SWEEPER,
        key=f"{workflow.name}:{uuid4()}",
    )
    ErasureRequest.objects.filter(pk=request.pk).update(run=run)
    request.run = run


def _put_off(request: ErasureRequest, after: timedelta) -> None:
    ErasureRequest.objects.filter(pk=request.pk).update(look_at=timezone.now() + after)
