"""Erasing, as far as the bar: compared with what was approved, fenced, counted, enumerated. It is taken back whole."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.utils import timezone

from provisioning.engine.telling import ENGINE
from provisioning.engine.workflow import AT_ONCE, Again, Body, Done, Outcome, StepContext
from provisioning.erasure import collateral, fence, hold_archive, holds, ledger, plan, rounds, settling
from provisioning.erasure.errors import HoldIncomplete, NoLongerWanted, PlanDrifted
from provisioning.erasure.registry import Registry
from provisioning.erasure.scoping import kind_of, scope_of
from provisioning.erasure.verifiers.hold_archive import in_tables
from provisioning.models import ErasurePlan, ErasureRequest, ErasureState
from tenants.models import Tenant
from tenants.states import TenantState

HELD_FOR = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class EraseInput:
    """Which request. Whose data it is about is read from its row, never from a message."""

    request_id: UUID


def request_of(ctx: StepContext) -> ErasureRequest:
    return ErasureRequest.objects.select_related("tenant").get(pk=ctx.input.request_id)


def wanted(ctx: StepContext, *states: ErasureState) -> ErasureRequest:
    """The request, if it is in one of these states. Raises NoLongerWanted."""
    request = request_of(ctx)
    if request.state not in states:
        raise NoLongerWanted(f"Erasure {request.public_id} is {request.state}.", state=request.state)
    return request


def go_back(ctx: StepContext) -> Outcome:
    """The end of an undone operation: the request is planned anew, unless a person has cancelled it."""
    request = request_of(ctx)
    with ctx.control():
        if settling.locked(request).state == ErasureState.FREEZING:
            request.to(ErasureState.PLANNING, actor=ENGINE, look_at=timezone.now())
    return Done()


def compare(registry: Registry) -> Body:
    """Count once more: an approval holds for what was approved alone."""

    def do(ctx: StepContext) -> Outcome:
        request = wanted(ctx, ErasureState.FREEZING)
        holds.refuse_held(request)
        hold_archive.throw_away(request, write=ctx.control)  # of an operation that a person ended
        approved = ErasurePlan.objects.get(request=request, digest=bytes(request.plan_digest or b"")).document
        if why := plan.drift(approved, plan.count(request, registry)):
            raise PlanDrifted(" ".join(why)[:500], why=why)
        return Done()

    return do


def close(registry: Registry) -> Body:
    """Nobody writes behind us: the tenant's life is closed, each store refuses new writers, the old ones have left."""

    def do(ctx: StepContext) -> Outcome:
        request = wanted(ctx, ErasureState.FREEZING)
        if "closed_at" not in request.fence:
            with ctx.control():
                if request.kind == "tenant":
                    fence.new_life(request.tenant_id)
                keep_fence(request, closed_at=timezone.now().isoformat(), late_writes=0)
        scope = scope_of(request)
        for eraser in registry.erasers_of(scope.kind):
            eraser.freeze(scope, ctx.check)
        inside = request.kind == "tenant" and request.tenant.state != TenantState.ERASED
        ended = fence.wait_for_old_transactions(request) if inside else 0
        soak = int(settling.soak().total_seconds())
        left = timezone.now().isoformat()
        return Done(
            {"ended": ended},
            also=lambda: keep_fence(request, old_transactions_ended_at=left, sessions_ended=ended, soak_seconds=soak),
        )

    return do


def open_again(ctx: StepContext) -> Outcome:
    """A new life, as the closed one stays closed. Who may come in is the tenant's state, which was never changed.

    None for a tenant that is erased, of which a request was to erase what a hold had kept.
    """
    request = request_of(ctx)
    lives_on = "closed_at" in request.fence and request.kind == "tenant" and request.tenant.state != TenantState.ERASED
    if lives_on:
        fence.forget_cache(request.tenant, ctx.claim)
    with ctx.control():
        if lives_on:
            fence.reopen(request.tenant_id)
        ErasureRequest.objects.filter(pk=request.pk).update(fence={})
    return Done()


def archive(ctx: StepContext) -> Outcome:
    """What is held of a tenant is copied to where it outlives the tenant, and counted there by who never copies."""
    request, kept = wanted(ctx, ErasureState.FREEZING), 0
    if request.kind == "tenant":
        for hold in holds.held_records(request):
            there = in_tables(request.tenant_id, hold.locator, hold.record)
            life = request.incarnation
            records = hold_archive.fill(hold, incarnation=life, write=ctx.control, lease=ctx.check)
            if records != there:
                said = f"{records} records of {hold.place} are archived, and {there} are there."
                raise HoldIncomplete(said, hold=str(hold.pk))
            kept += records
    return Done({"records": kept})


def throw_away(ctx: StepContext) -> Outcome:
    return Done({"archives": hold_archive.throw_away(request_of(ctx), write=ctx.control)})


def take_stock(registry: Registry) -> Body:
    """Count behind the fence, and enumerate what erasing will destroy: a store a turn, sealed; then look beside."""

    def do(ctx: StepContext) -> Outcome:
        request = wanted(ctx, ErasureState.FREEZING, ErasureState.ERASING)
        stores = registry.stores_of(kind_of(request))
        at = (ctx.cursor or {}).get("at", 0)
        if at == 0:
            rounds.remember_names(request, registry, write=ctx.control)
        if at < len(stores):
            rounds.stock_of(request, stores[at], scope_of(request), registry, write=ctx.control)
            return Again(AT_ONCE, cursor={"at": at + 1}, note=f"{at + 1} of {len(stores)} stores counted")
        if request.state != ErasureState.FREEZING:
            return Done({"stores": len(stores)})
        holds.refuse_held(request)
        beside = collateral.standing_beside(request.tenant_id, quiet_since=timezone.now() - settling.soak())
        return Done({"stores": len(stores)}, also=lambda: keep_fence(request, neighbours=beside))

    return do


def cross(ctx: StepContext) -> Outcome:
    """The point of no return: the tombstone first, in another database; then states, time and audit entry at once.

    A hold that came after the last look is waited for: this step only goes forward.
    """
    request = request_of(ctx)
    if request.state == ErasureState.ERASING:
        return Done()
    scope = scope_of(request)
    seq = ledger.record(scope, places=ledger.places_of(scope))
    with ctx.control():
        tenant = Tenant.objects.select_for_update().get(pk=request.tenant_id)  # placing a hold locks it, too
        if holds.open_holds(tenant.pk):
            return Again(HELD_FOR, note="A legal hold was placed: waiting for its release.")
        now = timezone.now()
        settling.locked(request).to(
            ErasureState.ERASING, actor=ENGINE, destroy_started_at=now, tombstone=seq, look_at=None
        )
        ledger.crossed(seq)
        if request.kind == "tenant" and tenant.state != TenantState.ERASED:  # else for what a hold had kept of it
            tenant.to(TenantState.ERASING)
    return Done({"tombstone": seq})


def keep_fence(request: ErasureRequest, **known: object) -> None:
    """Add to what the certificate will say of the fence. Part of the caller's transaction."""
    request.fence = {**settling.locked(request).fence, **known}
    ErasureRequest.objects.filter(pk=request.pk).update(fence=request.fence)
