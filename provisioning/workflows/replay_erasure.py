"""A database was restored from before an erasure: erase again, verify, and write down that it knows of it now.

Nobody approves it anew: two people did, and the tombstone is their word. Until it has ended nothing is served.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

from django.db import transaction

from provisioning.engine.start import start
from provisioning.engine.sweep import SWEEPER
from provisioning.engine.telling import ENGINE
from provisioning.engine.workflow import AT_ONCE, Again, Body, Done, Outcome, Step, StepContext, Workflow
from provisioning.erasure import fence, hold_archive, ledger, replaying, restored
from provisioning.erasure.errors import CannotSee, StillDirty
from provisioning.erasure.registry import REGISTRY, Registry
from provisioning.erasure.rounds import CHUNK, SLICE_S
from provisioning.erasure.stores import Budget, Scope
from provisioning.erasure.verifiers.hold_archive import in_tables
from provisioning.errors import OperationInProgress, Transient
from provisioning.models import ENDED, ErasureRequest, ErasureState, Queue, RecordHold, Run, Tombstone
from provisioning.models.erasure_states import LEFT_OF_THE_BAR, REPLAYED
from provisioning.providers.keys import keyring_errors
from provisioning.workflows.accepting import limit_of, lock_of
from tenants import audit
from tenants.actions import Actor, AuditAction, ObjectType
from tenants.models import Tenant
from tenants.states import TenantState

_log = logging.getLogger(__name__)
SHUT = "shut the doors"
LONG = timedelta(minutes=30)
HOURS_4 = timedelta(hours=4)


@dataclass(frozen=True, slots=True)
class ReplayInput:
    """The number of a tombstone. Whom it is about is read from the ledger."""

    seq: int


def stone_of(ctx: StepContext) -> Tombstone:
    with keyring_errors():
        return Tombstone.objects.get(pk=ctx.input.seq)


def shut(registry: Registry) -> Body:
    """Nobody uses what is about to go. The names that go with it are kept, sealed, for those who look afterwards."""

    def do(ctx: StepContext) -> Outcome:
        stone = stone_of(ctx)
        registry.plant(stone.tenant_id)
        names = replaying.kept(ctx.run_id, replaying.named(stone))
        scope = replaying.scope_of(stone)
        if scope.kind == "tenant":
            with ctx.control():
                tenant = Tenant.objects.select_for_update().get(pk=stone.tenant_id)
                if tenant.state not in {TenantState.ERASING, TenantState.ERASED}:
                    fence.new_life(tenant.pk)
                    tenant.refresh_from_db()
                    tenant.to(TenantState.ERASING)
        for eraser in registry.erasers_of(scope.kind):
            eraser.freeze(scope, ctx.check)
        keep_held(ctx, stone, scope)
        return Done({replaying.NAMES: names})

    return do


def keep_held(ctx: StepContext, stone: Tombstone, scope: Scope) -> None:
    """A hold that was restored as open, with its records and without its archive, is kept as it was the first time."""
    for hold in RecordHold.objects.filter(request=stone.request, request__kind="tenant", released_at=None):
        if hold.archived is None and in_tables(scope.tenant_id, hold.locator, hold.record):
            hold_archive.fill(hold, incarnation=scope.incarnation, write=ctx.control, lease=ctx.check)


def erase(registry: Registry) -> Body:
    """Every eraser by its phase, in chunks; what one needs to know it finds out again with each."""

    def do(ctx: StepContext) -> Outcome:
        scope, erasers = _scope(ctx), registry.erasers_of(_scope(ctx).kind)
        at, cursor = (ctx.cursor or {}).get("at", 0), (ctx.cursor or {}).get("cursor")
        if at >= len(erasers):
            return Done()
        eraser = erasers[at]
        budget = Budget(items=CHUNK, until=time.monotonic() + SLICE_S)
        progress = eraser.erase(scope, eraser.enumerate(scope), cursor, budget, ctx.check)
        following = {"at": at + 1} if progress.done else {"at": at, "cursor": progress.cursor}
        wait = timedelta(seconds=progress.retry_after) if progress.retry_after else AT_ONCE
        return Again(wait, cursor=following, note=f"{eraser.store}: {progress.deleted} deleted")

    return do


def verify(registry: Registry) -> Body:
    """Every verifier looks. Raises StillDirty, and CannotSee while one of them does not know."""

    def do(ctx: StepContext) -> Outcome:
        verdicts = replaying.verdicts(_scope(ctx), registry)
        if unknown := sorted(store for store, verdict in verdicts.items() if verdict.status == "unknown"):
            raise CannotSee(f"Nobody knows what is in {', '.join(unknown)}.", stores=unknown)
        if dirty := {store: verdict for store, verdict in verdicts.items() if verdict.status == "dirty"}:
            said = "; ".join(reason for verdict in dirty.values() for reason in verdict.reasons)
            raise StillDirty(said[:500], stores=sorted(dirty))
        return Done({"clean": len(verdicts)})

    return do


def conclude(ctx: StepContext) -> Outcome:
    """What the control database knows of it from now on, and of a request that it has in a state from before."""
    stone = stone_of(ctx)
    return Done(also=lambda: _concluded(ctx, stone))


def _concluded(ctx: StepContext, stone: Tombstone) -> None:
    ledger.crossed(stone.seq)
    tenant = Tenant.objects.select_for_update().get(pk=stone.tenant_id)
    if stone.scope == Tombstone.Scope.TENANT and tenant.state == TenantState.ERASING:
        tenant.to(TenantState.ERASED)
    request = ErasureRequest.objects.filter(pk=stone.request, state__in=LEFT_OF_THE_BAR).first()
    if request is not None:
        request.to(ErasureState.CANCELLED, actor=ENGINE, reason=REPLAYED)
    audit.write(
        AuditAction.ERASURE_REPLAYED,
        actor=ENGINE,
        object=(ObjectType.ERASURE_REQUEST, stone.request),
        tenant=stone.tenant_id,
        operation=ctx.run_id,
        request=stone.request,
    )


def mark(ctx: StepContext) -> Outcome:
    """Each database that the data was in knows of the erasure, again or at last: it may be served."""
    ledger.certify(ctx.input.seq)
    ledger.mark(ctx.input.seq)
    replaying.forget(ctx.run_id)
    restored.look_again()
    return Done()


def _scope(ctx: StepContext) -> Scope:
    return replaying.scope_of(stone_of(ctx), replaying.opened(ctx.run_id, ctx.outputs[SHUT][replaying.NAMES]))


def replay(registry: Registry) -> Workflow:
    return Workflow(
        name="replay erasure",
        version=1,
        queue=Queue.OPERATIONS,
        input=ReplayInput,
        steps=(
            # It only goes forward: what is brought back must go again.
            Step(name=SHUT, do=shut(registry), pivot=True, timeout=LONG),
            Step(name="erase", do=erase(registry), timeout=LONG, deadline=HOURS_4),
            Step(name="verify", do=verify(registry), timeout=LONG),
            Step(name="conclude", do=conclude),
            Step(name="mark databases", do=mark),
        ),
    )


REPLAY_ERASURE = replay(REGISTRY)


def replay_next(*, actor: Actor, workflow: Workflow = REPLAY_ERASURE) -> Run | None:
    """Begin what comes next in restored databases, or name what was begun: one at a time. None: there is nothing.

    Of a tenant that the control database has never heard of there is nothing but the mark to write. Raises
    KeyringUnreachable, OperationInProgress while the tenant is busy, ServerUnavailable.
    """
    if (open_one := Run.objects.filter(workflow=workflow.name).exclude(state__in=ENDED).first()) is not None:
        return open_one
    while (stone := replaying.due()) is not None:
        tenant = Tenant.objects.filter(pk=stone.tenant_id).select_related("plan").first()
        if tenant is not None:
            with transaction.atomic():
                return start(
                    workflow,
                    input=ReplayInput(stone.seq),
                    tenant_id=tenant.pk,
                    lock_key=lock_of(tenant),
                    limit_key=limit_of(tenant),
                    actor=actor,
                    key=f"replay:{stone.seq}:{uuid4()}",
                )
        with transaction.atomic():
            ledger.crossed(stone.seq)
        ledger.certify(stone.seq)
        ledger.mark(stone.seq)
        restored.look_again()
    return None


def sweep_restored() -> None:
    """The sweeper's part: whatever is found to be restored is begun, and what cannot be known now is asked again."""
    try:
        if restored.behind_lately():
            replay_next(actor=SWEEPER)
    except (Transient, OperationInProgress) as error:
        _log.warning("Erasures were not replayed: %s", error)
