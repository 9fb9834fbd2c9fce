"""Onboard what a billing export lists: every good line is accepted, every bad one is named with its cure."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from controlplane.billing_export import Line
from provisioning import lifecycle
from provisioning.models import Run
from tenants.audit import Actor
from tenants.errors import TenureError

ACTOR = Actor(kind="command", id="onboard", name="manage.py onboard")
LOOK_EVERY_S = 0.5
TOGETHER = 100  # lines accepted in one transaction; it holds the cluster's row for some 0.2 s
ENDS = ("succeeded", "failed", "cancelled", "parked")


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
    for several in batched(lines, TOGETHER):
        answers: dict[int, Answer] = {}
        good: dict[int, lifecycle.TenantWish] = {}
        for line in several:
            if line.wish is None:
                answers[line.number] = Answer(line.number, "", "problem", line.problem)
            elif (first := seen.setdefault(line.wish.slug, line.number)) != line.number:
                problem = f"The slug is on line {first} already. Remove one of the two."
                answers[line.number] = Answer(line.number, line.wish.slug, "problem", problem)
            else:
                good[line.number] = line.wish
        answers |= {each.number: each for each in (accepted(good) if write else planned(good))}
        yield from (answers[line.number] for line in several)


def batched(lines: Iterable[Line], size: int) -> Iterator[list[Line]]:
    rest = iter(lines)
    while several := list(islice(rest, size)):
        yield several


def accepted(wishes: Mapping[int, lifecycle.TenantWish]) -> Iterator[Answer]:
    """Accept these lines, all that can be in one transaction."""
    known = started_before(wishes)
    fresh = {}
    for number, wish in wishes.items():
        if wish.digest in known:
            yield Answer(number, wish.slug, "present", run=known[wish.digest])
        else:
            fresh[number] = wish
    yield from _together(fresh)


def _together(wishes: Mapping[int, lifecycle.TenantWish]) -> Iterator[Answer]:
    """All at once; where one of them cannot be had, in halves, until it stands alone and is told why."""
    try:
        runs = lifecycle.onboard_together(list(wishes.values()), actor=ACTOR) if len(wishes) > 1 else []
    except TenureError:
        middle = len(wishes) // 2
        numbers = list(wishes)
        for half in (numbers[:middle], numbers[middle:]):
            yield from _together({number: wishes[number] for number in half})
        return
    if runs:
        for (number, wish), run in zip(wishes.items(), runs, strict=True):
            yield Answer(number, wish.slug, "accepted", run=run)
    else:
        for number, wish in wishes.items():
            yield _alone(number, wish)


def _alone(number: int, wish: lifecycle.TenantWish) -> Answer:
    try:
        run = lifecycle.onboard(wish=wish, actor=ACTOR, key=wish.digest)
    except TenureError as error:
        return Answer(number, wish.slug, "problem", f"{error} {error.cure}")
    return Answer(number, wish.slug, "accepted", run=run)


def planned(wishes: Mapping[int, lifecycle.TenantWish]) -> Iterator[Answer]:
    known = started_before(wishes)
    for number, wish in wishes.items():
        if wish.digest in known:
            yield Answer(number, wish.slug, "present")
            continue
        try:
            blockers = lifecycle.plan_onboard(wish=wish).blockers
        except TenureError as error:
            yield Answer(number, wish.slug, "problem", f"{error} {error.cure}")
            continue
        problem = " ".join(f"{each.message} {each.hint}" for each in blockers)
        yield Answer(number, wish.slug, "problem" if problem else "accepted", problem)


def started_before(wishes: Mapping[int, lifecycle.TenantWish]) -> dict[str, Run]:
    """The runs that these lines started in an earlier turn, by key."""
    keys = [wish.digest for wish in wishes.values()]
    return {run.key: run for run in Run.objects.filter(actor=str(ACTOR), key__in=keys)}


def watch(runs: list[Run], *, ended: Callable[[int], object]) -> dict[str, int]:
    """Wait until every run has ended or is parked; `ended` hears how many more have. Returns how many per state."""
    open_ids, counts = {run.pk for run in runs}, dict[str, int]()
    while open_ids:
        for pk, state in Run.objects.filter(pk__in=open_ids, state__in=ENDS).values_list("pk", "state"):
            open_ids.discard(pk)
            counts[state] = counts.get(state, 0) + 1
            ended(1)
        if open_ids:
            time.sleep(LOOK_EVERY_S)  # a person watches; the rows say when it is over
    return counts
