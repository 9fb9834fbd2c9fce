"""What the page of a rollout says of its rehearsals: whether one is under way, and what the newest found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from django.db.models import CharField, OuterRef, QuerySet, Subquery, Value
from django.db.models.functions import Cast, Concat

from controlplane import rollout_plans
from controlplane.admin.actors import with_actor_names
from provisioning.models import Rehearsal, RehearsalState, Rollout, Run
from provisioning.rollout.rehearsing import LOCK, under_way
from tenants.findings import Finding

MOST = 20  # locks, and tables, of all copies together


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """One rehearsal. `locks` and `tables` are `(target, report)`, the longest and the fullest first."""

    rehearsal: Any  # with the names of who began it and who overrode it
    state: str  # a key of the label map
    objections: Sequence[Finding]
    copies: Sequence[tuple[Mapping[str, Any], int]]  # each with the rows that were touched
    locks: Sequence[tuple[str, Mapping[str, Any]]]
    tables: Sequence[tuple[str, Mapping[str, Any]]]
    more: int  # locks and tables that are not in these
    outdated: bool  # the plan has changed since

    @classmethod
    def of(cls, rehearsal: Rehearsal, rollout: Rollout) -> Self:
        copies = rehearsal.copies
        locks = [(copy["target"], each) for copy in copies for each in copy["locks"]]
        tables = [(copy["target"], each) for copy in copies for each in copy["tables"]]
        return cls(
            rehearsal=rehearsal,
            state=state_of(rehearsal),
            objections=[rollout_plans.objection(kept) for kept in rehearsal.findings],
            copies=[(copy, sum(each["rows"] for each in copy["tables"])) for copy in copies],
            locks=sorted(locks, key=lambda each: -each[1]["held_ms"])[:MOST],
            tables=sorted(tables, key=lambda each: -each[1]["rows"])[:MOST],
            more=max(len(locks) - MOST, 0) + max(len(tables) - MOST, 0),
            outdated=rehearsal.plan_digest != rollout.plan_digest,
        )


def state_of(rehearsal: Rehearsal) -> str:
    if rehearsal.state != RehearsalState.FINISHED or not rehearsal.findings:
        return str(rehearsal.state)
    return "overridden" if rehearsal.override else "objects"


def with_rehearsals(rollouts: QuerySet[Rollout]) -> QuerySet[Rollout]:
    """Annotate which rehearsal is the newest and how it stands, and the state of an operation that is at one."""
    each = Rehearsal.objects.filter(rollout=OuterRef("pk")).order_by("-started_at")
    shown = Concat(Cast("pk", CharField()), Value(" "), "state", output_field=CharField())
    runs = Run.objects.filter(lock_key=OuterRef("rehearsal_lock"), parent=None, finished_at=None)
    annotated: QuerySet[Rollout] = rollouts.annotate(
        rehearsal_lock=Concat(Value(LOCK), Cast("pk", CharField()), output_field=CharField()),
        rehearsed=Subquery(each.annotate(shown=shown).values("shown")[:1]),
        rehearsing=Subquery(runs.values("state")[:1]),
    )
    return annotated


def rehearsals_of(rollout: Rollout) -> dict[str, Any]:
    """For parts/rehearsal.html, of a rollout read by `with_rehearsals`.

    `rehearsing` is an operation that is at one or waits to be, `newest` the last one, and `counted` the one that counts
    for an approval.
    """
    shown: dict[str, Any] = {"rehearsing": None, "newest": None, "newest_state": "", "counted": None}
    if rollout.rehearsing:  # type: ignore[attr-defined]  # annotated
        shown["rehearsing"] = under_way(rollout)
    if rollout.rehearsed:  # type: ignore[attr-defined]  # annotated
        rows = Rehearsal.objects.filter(rollout=rollout).select_related("run").order_by("-started_at")
        rows = with_actor_names(rows, "started_by", "overridden_by")
        finished = rows.filter(state=RehearsalState.FINISHED)
        if (newest := rows.first()) is not None:
            shown |= {"newest": newest, "newest_state": state_of(newest)}
        counted = newest if newest and newest.state == RehearsalState.FINISHED else finished.first()
        shown["counted"] = Rehearsed.of(counted, rollout) if counted else None
    return shown
