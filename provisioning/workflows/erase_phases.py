"""Erasing, right of the bar: store by store in chunks, the gate, and a check. It only goes forward."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from provisioning.engine.telling import ENGINE
from provisioning.engine.workflow import AT_ONCE, Again, Body, Done, Outcome, StepContext
from provisioning.erasure import rounds, settling
from provisioning.erasure.errors import CannotSee, StillDirty, StoresFailed
from provisioning.erasure.registry import Registry
from provisioning.erasure.scoping import kind_of, scope_of
from provisioning.erasure.stores import Verdict
from provisioning.models import ErasureRequest, ErasureState
from provisioning.workflows.erase_freezing import wanted

KEYS = 7  # the phase in which data keys are destroyed; disabled in another
MOST_TRIES = 3  # of the gate


def erase(registry: Registry, *, phases: Collection[int]) -> Body:
    """Every entry of these phases, in chunks, each to its end. An entry that another phase has for its store waits.

    A store that fails stops no other: it is left out of this turn, and tried again with the next attempt.
    """

    def do(ctx: StepContext) -> Outcome:
        request = wanted(ctx, ErasureState.ERASING)
        kind = kind_of(request)
        turns: dict[str, int] = {}
        for store in registry.stores_of(kind):
            entries = registry.entries_of(store, kind)
            if wanted_here := [number for number, each in enumerate(entries, 1) if each.phase in phases]:
                turns[store] = wanted_here[-1]
        return _erased(ctx, request, registry, turns) or Done()

    return do


def _erased(ctx: StepContext, request: ErasureRequest, registry: Registry, turns: Mapping[str, int]) -> Again | None:
    """One chunk, or None when every store has come to its end so often. StoresFailed when only such are left."""
    cursor = ctx.cursor or {}
    skipped = cursor.get("skipped", []) if not ctx.run.attempts else []
    left = rounds.unfinished(request, turns)
    if not left:
        return None
    turn = next((row for row in left if row.store not in skipped), None)
    if turn is None:
        names = [row.store for row in left]
        raise StoresFailed(f"{', '.join(names)} could not be erased to the end.", stores=names)
    worked = rounds.erase_chunk(turn, scope_of(request), registry, lease=_lease(ctx), write=ctx.control)
    if worked.failed:
        skipped = [*skipped, turn.store]
        if all(row.store in skipped for row in left):
            raise StoresFailed(f"{turn.store} could not be erased to the end.", stores=[turn.store])
    deleted = worked.progress.deleted if worked.progress else 0
    return Again(worked.wait, cursor={**cursor, "skipped": skipped}, note=f"{turn.store}: {deleted} deleted")


def gate(registry: Registry) -> Body:
    """All but keys, audit and control residue is clean; else those stores once more. Raises StillDirty, CannotSee."""

    def do(ctx: StepContext) -> Outcome:
        request = wanted(ctx, ErasureState.ERASING)
        kind = kind_of(request)
        stores = [s for s in registry.stores_of(kind) if all(e.phase < KEYS for e in registry.entries_of(s, kind))]
        cursor = ctx.cursor or {"tries": 0, "again": {}}
        if (more := _erased(ctx, request, registry, cursor["again"])) is not None:
            return more
        verdicts = rounds.judged(request, registry, stores=stores, write=ctx.control)
        if unknown := rounds.not_clean(verdicts, "unknown"):
            raise CannotSee(f"Nobody knows what is in {', '.join(unknown)}.", stores=unknown)
        dirty = rounds.not_clean(verdicts, "dirty")
        if not dirty:
            return Done({"clean": len(stores)})
        if cursor["tries"] >= MOST_TRIES:
            attend(ctx, request, StillDirty.code)
            raise StillDirty(_left(verdicts), stores=dirty)
        again = {store: passes + 1 for store, passes in rounds.passes_of(request, dirty).items()}
        return Again(AT_ONCE, cursor={"tries": cursor["tries"] + 1, "again": again}, note=f"{', '.join(dirty)} again")

    return do


def check(registry: Registry) -> Body:
    """Every verifier looks. Clean: the soak begins. Dirty: another round, until a person must look."""

    def do(ctx: StepContext) -> Outcome:
        request = wanted(ctx, ErasureState.ERASING, ErasureState.CHECKING)
        if request.state == ErasureState.ERASING:
            with ctx.control():
                settling.locked(request).to(ErasureState.CHECKING, actor=ENGINE, checked_at=None, look_at=None)
        verdicts = verdicts_of(ctx, request, registry)
        if dirty := rounds.not_clean(verdicts, "dirty"):
            if request.round % settling.MOST_ROUNDS == 0:
                attend(ctx, request, StillDirty.code)
                raise StillDirty(_left(verdicts), stores=dirty)
            return Done({"dirty": dirty}, also=lambda: settling.another_round(request, verdicts))
        return Done({"clean": len(verdicts)}, also=lambda: settling.checked_once(request))

    return do


def verdicts_of(ctx: StepContext, request: ErasureRequest, registry: Registry) -> dict[str, Verdict]:
    """Over every store. Raises CannotSee while one of them is unknown: that is never clean."""
    verdicts = rounds.judged(request, registry, write=ctx.control)
    if unknown := rounds.not_clean(verdicts, "unknown"):
        attend(ctx, request, CannotSee.code)
        raise CannotSee(f"Nobody knows what is in {', '.join(unknown)}.", stores=unknown)
    return verdicts


def attend(ctx: StepContext, request: ErasureRequest, code: str) -> None:
    with ctx.control():
        ErasureRequest.objects.filter(pk=request.pk).update(attention=code)


def _left(verdicts: dict[str, Verdict]) -> str:
    said = [f"{store}: {'; '.join(each.reasons)}" for store, each in verdicts.items() if each.status != "clean"]
    return ". ".join(said)[:500]


def _lease(ctx: StepContext) -> Callable[[], None]:
    """Ours, and the request is erasing."""

    def held() -> None:
        ctx.check()
        wanted(ctx, ErasureState.ERASING)

    return held
