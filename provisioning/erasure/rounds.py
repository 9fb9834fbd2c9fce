"""One round through the stores: take stock, erase in chunks, judge. A row a store says how far each one is.

Every function may be called again after a crash at any point. What a chunk deleted is written after it: a crash
between the two makes the count too small, and the difference shows as `absent`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from django.db.models import F
from django.db.models.functions import Now

from provisioning.engine.failpoint import Moment, reached
from provisioning.erasure import sealed, sentinels
from provisioning.erasure.erasers.once_more import AGAIN
from provisioning.erasure.errors import CannotSee, Collateral
from provisioning.erasure.looking import Look, look
from provisioning.erasure.registry import Registry
from provisioning.erasure.scoping import kind_of, scope_of
from provisioning.erasure.stores import Budget, Enumeration, Eraser, Lease, Progress, Scope, Verdict
from provisioning.models import Direction, ErasureRequest, ErasureStore
from tenants.errors import TenureError

CHUNK = 100_000  # items: what a chunk costs beside its work (records, a look at the catalog) is spread over them
SLICE_S = 15.0  # of one chunk: pause, cancel and deploys take effect between two
Write = Callable[[], AbstractContextManager[None]]
"""Opens a transaction that commits only while the caller's claim is good."""


@dataclass(frozen=True, slots=True)
class Worked:
    """What one chunk came to. `wait`: the store asked to be left alone for so long."""

    store: str
    progress: Progress | None
    wait: timedelta = timedelta(0)

    @property
    def failed(self) -> bool:
        return self.progress is None


def stock_of(request: ErasureRequest, store: str, scope: Scope, registry: Registry, *, write: Write) -> ErasureStore:
    """Count one store behind the fence and enumerate what its erasing destroys. Raises CannotSee, Transient.

    What was enumerated in former rounds is kept: the new enumeration is a union.
    """
    kind = kind_of(request)
    verifier = registry.verifier(store, kind)
    if verifier is None:
        raise CannotSee(f"Nobody counts {store}.")
    seen = look(verifier, scope)
    if not seen.seen:
        raise CannotSee(f"Nobody knows what is in {store}.", store=store, errors=seen.errors)
    rows = ErasureStore.objects.filter(request=request, store=store)
    items: Mapping[str, Any] = {}
    for eraser in registry.entries_of(store, kind)[:1]:  # entries of one store differ in their phase alone
        items = eraser.enumerate(scope).items
    for former in rows.exclude(found=None).order_by("round"):
        items = united(sealed.opened_items(request.pk, store, former.found), items)
    sentinel = rows.filter(sentinel=True).exists() or seen.sentinel  # a former round took it, and had seen it
    found = sealed.sealed_items(request.pk, store, items)
    with write():
        row, _made = ErasureStore.objects.update_or_create(
            request=request,
            round=request.round,
            store=store,
            defaults={"planned": seen.total, "retained": seen.retained, "found": found, "sentinel": sentinel},
        )
    return row


def remember_names(request: ErasureRequest, registry: Registry, *, write: Write) -> None:
    """What else names the person is sealed with what was given: the rows that know it are among the first to go."""
    if request.kind != "subject":
        return
    known = scope_of(request)
    sealed_ones = sealed.sealed_identifiers(request.pk, dict.fromkeys((*known.identifiers, *registry.names(known))))
    with write():
        ErasureRequest.objects.filter(pk=request.pk).update(identifiers=sealed_ones)
    request.identifiers = sealed_ones


def united(former: Mapping[str, Any], fresh: Mapping[str, Any]) -> dict[str, Any]:
    """All that either knows: lists are joined, objects united, of other values the fresh one stays."""
    joined = {**former, **fresh}
    for name in former.keys() & fresh.keys():
        before, after = former[name], fresh[name]
        if isinstance(before, list) and isinstance(after, list):
            joined[name] = [*before, *(each for each in after if each not in before)]
        elif isinstance(before, dict) and isinstance(after, dict):
            joined[name] = united(before, after)
    return joined


def entry_of(registry: Registry, row: ErasureStore, scope: Scope) -> Eraser:
    """The eraser whose turn it is: one after the other, and the last one whenever it must be once more.

    Raises CannotSee for a store that nobody erases.
    """
    entries = registry.entries_of(row.store, scope.kind)
    if not entries:
        raise CannotSee(f"Nobody erases {row.store}.", store=row.store)
    return entries[min(row.passes, len(entries) - 1)]


def unfinished(request: ErasureRequest, turns: Mapping[str, int]) -> list[ErasureStore]:
    """The rows of these stores, in their order, whose erasers have not come to their end so often."""
    rows = {row.store: row for row in ErasureStore.objects.filter(request=request, round=request.round)}
    if lost := [store for store in turns if store not in rows]:
        raise CannotSee(f"{', '.join(lost)} came after the stock was taken.", stores=lost)
    return [rows[store] for store, passes in turns.items() if rows[store].passes < passes]


def passes_of(request: ErasureRequest, stores: Iterable[str]) -> dict[str, int]:
    """How often the erasers of these stores have come to their end in this round."""
    rows = ErasureStore.objects.filter(request=request, round=request.round, store__in=list(stores))
    return dict(rows.values_list("store", "passes"))


def erase_chunk(row: ErasureStore, scope: Scope, registry: Registry, *, lease: Lease, write: Write) -> Worked:
    """One bounded piece of one store. Its errors are kept on the row, by code, and stop no other store.

    Raises Collateral when more went than was there.
    """
    items = sealed.opened_items(scope.request_id, row.store, row.found)
    budget = Budget(items=CHUNK, until=time.monotonic() + SLICE_S)
    try:
        found = Enumeration(row.store, items)
        eraser = entry_of(registry, row, scope)
        here = boundary_of(eraser)
        reached(Moment.STARTED, here, Direction.DO)
        progress = eraser.erase(scope, found, row.cursor, budget, lease)
    except TenureError as error:
        failed(row, error.code, write=write)
        return Worked(row.store, None)
    reached(Moment.BODY_DONE, here, Direction.DO)
    stuck = bool(progress.failed) and not progress.deleted and not progress.done
    behind = eraser.phase == AGAIN or row.passes >= len(registry.entries_of(row.store, scope.kind))
    with write():
        ErasureStore.objects.filter(pk=row.pk).update(
            deleted=F("deleted") + progress.deleted,
            late=F("late") + (progress.deleted if behind else 0),
            cursor=None if progress.done else progress.cursor,
            passes=F("passes") + int(progress.done),
            failed=[{"code": finding.code, "severity": finding.severity.value} for finding in progress.failed],
        )
        reached(Moment.BEFORE_RECORD, here, Direction.DO)
    reached(Moment.AFTER_RECORD, here, Direction.DO)
    row.refresh_from_db()
    refuse_excess(row)
    return Worked(row.store, None if stuck else progress, timedelta(seconds=progress.retry_after or 0))


def boundary_of(eraser: Eraser) -> str:
    """As whose step the moments of its chunks are, where tests kill a worker."""
    return f"{eraser.store} in phase {eraser.phase}"


def refuse_excess(row: ErasureStore) -> None:
    """More deleted before phase 6 than was counted behind the fence: whose was it? Raises Collateral."""
    if row.planned is not None and row.deleted - row.late + row.retained > row.planned:
        raise Collateral(
            f"{row.deleted - row.late} items of {row.store} were deleted; {row.planned - row.retained} were there.",
            store=row.store,
        )


def failed(row: ErasureStore, code: str, *, write: Write) -> None:
    with write():
        ErasureStore.objects.filter(pk=row.pk).update(failed=[{"code": code, "severity": "error"}])


def judged(
    request: ErasureRequest, registry: Registry, *, stores: Iterable[str] | None = None, write: Write
) -> dict[str, Verdict]:
    """The verdict over each store, or over these, looked at now and kept on their rows. A store without a row: unknown.

    Stores that are required and in nobody's list have a verdict, too.
    """
    scope, kind = scope_of(request), kind_of(request)
    rows = {row.store: row for row in ErasureStore.objects.filter(request=request, round=request.round)}
    wanted = (
        rows.keys() | registry.required_of(request.tenant_id, kind) | {v.store for v in registry.verifiers_of(kind)}
    )
    verdicts = {}
    for store in sorted(wanted if stores is None else stores):
        verifier, row = registry.verifier(store, kind), rows.get(store)
        seen = look(verifier, scope) if verifier is not None else Look(store, errors=["NO_VERIFIER"])
        if row is None:
            seen.errors.append("NEVER_ERASED")
        verdict = seen.verdict(retained=row.retained if row is not None else 0)
        verdicts[store] = verdict
        if row is not None:
            with write():
                keep(row, seen, verdict)
    return verdicts


def keep(row: ErasureStore, seen: Look, verdict: Verdict) -> None:
    """What was seen of a store, as its certificate will print it."""
    remaining = sum(tally.n or 0 for tally in verdict.remaining) if seen.tallies is not None else None
    ErasureStore.objects.filter(pk=row.pk).update(
        verdict=verdict.status,
        remaining=remaining,
        absent=max(0, (row.planned or 0) - (row.deleted - row.late) - row.retained),
        judged_at=Now(),
        judged={
            "control": verdict.control.method + sentinels.said(before=row.sentinel, now=seen.sentinel),
            "covered": len(verdict.coverage.covered),
            "waived": [asdict(waiver) for waiver in verdict.coverage.waived],
            "residue": [asdict(each) for each in verdict.residue],
            "reasons": list(verdict.reasons),
            "evidence": verdict.evidence,
            "left": [asdict(tally) for tally in verdict.remaining],
        },
    )


def not_clean(verdicts: Mapping[str, Verdict], status: str) -> list[str]:
    return sorted(store for store, verdict in verdicts.items() if verdict.status == status)
