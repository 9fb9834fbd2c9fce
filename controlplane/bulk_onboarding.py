"""Onboard what a billing export lists: every good line is accepted, every bad one is named with its cure."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from controlplane.billing_export import Line
from provisioning import lifecycle
from provisioning.models import Run
from tenants.audit import Actor
from tenants.errors import TenureError

ACTOR = Actor(kind="command", id="onboard", name="manage.py onboard")
LOOK_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one line."""

    number: int
    slug: str
    what: Literal["accepted", "present", "problem"]
    detail: str = ""
    run: Run | None = None


def onboard_all(lines: Iterable[Line], *, write: bool) -> Iterator[Answer]:
    """One answer a line, in order. Without `write` nothing is changed and "accepted" means it would be.

    A line's key is the hash of what it asks for, so running a file again meets the runs it started.
    """
    seen: dict[str, int] = {}
    for line in lines:
        if line.wish is None:
            yield Answer(line.number, "", "problem", line.problem)
            continue
        slug, first = line.wish.slug, seen.setdefault(line.wish.slug, line.number)
        if first != line.number:
            yield Answer(line.number, slug, "problem", f"The slug is on line {first} already. Remove one of the two.")
            continue
        try:
            yield accepted(line.number, line.wish) if write else planned(line.number, line.wish)
        except TenureError as error:
            yield Answer(line.number, slug, "problem", f"{error} {error.cure}")


def accepted(number: int, wish: lifecycle.TenantWish) -> Answer:
    known = started_before(wish)
    run = lifecycle.onboard(wish=wish, actor=ACTOR, key=wish.digest)
    return Answer(number, wish.slug, "present" if known else "accepted", run=run)


def planned(number: int, wish: lifecycle.TenantWish) -> Answer:
    if started_before(wish):
        return Answer(number, wish.slug, "present")
    if blockers := lifecycle.plan_onboard(wish=wish).blockers:
        return Answer(number, wish.slug, "problem", " ".join(f"{each.message} {each.hint}" for each in blockers))
    return Answer(number, wish.slug, "accepted")


def started_before(wish: lifecycle.TenantWish) -> bool:
    return Run.objects.filter(actor=str(ACTOR), key=wish.digest).exists()


def watch(runs: list[Run], *, ended: Callable[[int], object]) -> dict[str, int]:
    """Wait until every run has ended or is parked; `ended` hears how many more have. Returns how many per state."""
    open_ids, counts = {run.pk for run in runs}, dict[str, int]()
    while open_ids:
        for pk, state in Run.objects.filter(pk__in=open_ids).values_list("pk", "state"):
            if state in {"succeeded", "failed", "cancelled", "parked"}:
                open_ids.discard(pk)
                counts[state] = counts.get(state, 0) + 1
                ended(1)
        if open_ids:
            time.sleep(LOOK_EVERY_S)  # a person watches; the rows say when it is over
    return counts
