"""Erasure requests as a terminal shows them. Nobody is named."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from django.utils import timezone

from provisioning import lifecycle
from provisioning.models import ErasureRequest

DAY = "%Y-%m-%d %H:%M"


def list_lines(rows: Iterable[ErasureRequest]) -> Iterator[str]:
    """One line a request, what is due first stands first."""
    known, now = lifecycle.usual_erasures(), timezone.now()
    dated = [(lifecycle.clock_of_erasure(row, known=known), row) for row in rows]
    for clock, row in sorted(dated, key=lambda each: each[0].due_at):
        late = "  OVERDUE" if row.settled_at is None and clock.overdue(now) else ""
        what = "tenant" if row.kind == "tenant" else "person"
        yield f"{row.public_id}  {row.state:17}  {what} of {row.tenant.slug}  due {_at(clock.due_at)}{late}"
    if not dated:
        yield "No erasure request is open."


def show_lines(row: ErasureRequest) -> Iterator[str]:
    """Its clock, what would go or went, and what may be done."""
    clock, plan = lifecycle.clock_of_erasure(row), lifecycle.plan_of_erasure(row)
    document = plan.document if plan is not None else row.counted
    what = "everything" if row.kind == "tenant" else "one person"
    yield f"{row.public_id} is {row.state}: {what} of {row.tenant.slug}"
    yield f"  received {_at(row.received_at)}, due {_at(clock.due_at)}, latest safe start {_at(clock.latest_start)}"
    for store in document["stores"] if document else ():
        for tally in store["tallies"]:
            number = "?" if tally["n"] is None else tally["n"]
            yield f"  {store['store']}: {tally['action']} {number} of {tally['locator']} ({tally['quality']})"
    for blocker in document["blockers"] if document else ():
        yield f"  IN THE WAY: {blocker['message']} {blocker['hint']}"
    if plan is not None:
        yield f"  plan sha256:{bytes(plan.digest).hex()}"
    for each in row.stores.filter(round=row.round).order_by("store"):
        yield f"  {each.store}: {each.deleted} of {each.planned} deleted, {each.verdict or 'not looked at yet'}"
    yield f"  what may be done: {', '.join(lifecycle.actions_of_erasure(row)) or 'nothing'}"


def _at(moment: datetime) -> str:
    return f"{moment:{DAY}} UTC"
