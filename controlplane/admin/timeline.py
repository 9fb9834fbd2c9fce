"""The steps of one operation over time: pure arithmetic from rows to bars, drawn by parts/timeline.html.

All positions are shares of the drawing's width, 0 to 1. A stretch in which nothing happened and which would take more
than a fifth of the width is folded to a narrow one with its length as a label, so that the work stays readable.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from controlplane.admin.labels import Tone
from provisioning.models import Direction, EventKind, Run, RunEvent, RunStep, StepState

FOLD_ABOVE = 0.2
FOLDED = 0.1  # wide enough for a label such as "38 min"

BarKind = Literal["work", "wait", "mark"]
Interval = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class Bar:
    """A stretch of one step. `mark` is a moment: a failure whose own start nobody recorded."""

    left: float
    width: float
    tone: Tone
    kind: BarKind


@dataclass(frozen=True, slots=True)
class Line:
    """One step in one direction, with everything its row of the table says."""

    step: RunStep
    current: bool
    took: timedelta | None
    bars: tuple[Bar, ...]
    failures: tuple[RunEvent, ...]

    @property
    def tries(self) -> int:
        """How often the step was begun, with the one that is at work or ended well."""
        going = self.step.state in (StepState.STARTED, StepState.SUCCEEDED)
        return self.step.attempts + self.step.crashes + going


@dataclass(frozen=True, slots=True)
class Fold:
    """A stretch left out of the drawing: where it stands, and how long it was."""

    left: float
    width: float
    length: timedelta


@dataclass(frozen=True, slots=True)
class Timeline:
    """`do` in the order of the workflow, `undo` in the order of undoing. `length` is the time the drawing spans."""

    do: tuple[Line, ...]
    undo: tuple[Line, ...]
    folds: tuple[Fold, ...]
    length: timedelta


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time before it has a place in the drawing."""

    begin: datetime
    end: datetime
    tone: Tone
    kind: BarKind


class Scale:
    """From moments to places, with the empty stretches folded."""

    def __init__(self, begin: datetime, end: datetime, busy: Iterable[Interval]) -> None:
        self.begin, self.end = begin, max(end, begin)
        limit = (self.end - self.begin) * FOLD_ABOVE
        self.empty = [gap for gap in _gaps(self.begin, self.end, busy) if gap[1] - gap[0] > limit]
        self.shown = (self.end - self.begin) - sum((last - first for first, last in self.empty), timedelta())
        self.folded = FOLDED if self.shown or not self.empty else 1 / len(self.empty)  # nothing but moments: all is gap

    def place(self, moment: datetime) -> float:
        """0 at the beginning, 1 at the end."""
        if self.end == self.begin:
            return 0.0
        hidden, folds = timedelta(), 0.0
        for first, last in self.empty:
            if moment <= first:
                break
            inside = min(moment, last) - first
            hidden += inside
            folds += self.folded * (inside / (last - first))
        moment = min(max(moment, self.begin), self.end)
        open_width = 1 - self.folded * len(self.empty)
        return folds + (((moment - self.begin - hidden) / self.shown) * open_width if self.shown else 0.0)

    def folds(self) -> tuple[Fold, ...]:
        return tuple(
            Fold(self.place(first), self.place(last) - self.place(first), last - first) for first, last in self.empty
        )


def timeline(run: Run, steps: Sequence[RunStep], events: Sequence[RunEvent], *, now: datetime) -> Timeline:
    """The drawing of a run from its own rows, as of `now`."""
    spans = {step.pk: tuple(_spans(step, _failures(step, events), now=now)) for step in steps}
    every = [span for of_step in spans.values() for span in of_step]
    end = run.finished_at or max((span.end for span in every), default=now)
    begin = min((span.begin for span in every), default=run.created_at)
    scale = Scale(begin, end, [(span.begin, span.end) for span in every if span.kind != "wait"])

    def line(step: RunStep) -> Line:
        return Line(
            step=step,
            current=not run.ended and step.name == run.step and step.direction == run.direction,
            took=_took(step, _failures(step, events), now),
            bars=tuple(_bar(span, scale) for span in spans[step.pk]),
            failures=_failures(step, events),
        )

    do = sorted((step for step in steps if step.direction == Direction.DO), key=lambda step: step.position)
    undo = sorted((step for step in steps if step.direction == Direction.UNDO), key=lambda step: -step.position)
    return Timeline(tuple(map(line, do)), tuple(map(line, undo)), scale.folds(), end - begin)


def _spans(step: RunStep, failures: Sequence[RunEvent], *, now: datetime) -> Iterable[Span]:
    """Each failed attempt, the waits between, and what is going on or came of it last."""
    if step.started_at is None:
        return
    since = step.started_at
    for failed in failures:
        if failed is failures[0] or (failed.began_at is not None and failed.began_at > since):
            begin = max(failed.began_at or since, since)
            yield from _wait(since, begin)
            yield Span(begin, max(failed.at, begin), Tone.BAD, "work")
        else:
            yield from _wait(since, failed.at)
            yield Span(failed.at, failed.at, Tone.BAD, "mark")
        since = max(failed.at, since)
    yield from _last(step, since, now=now, again=bool(failures))


def _last(step: RunStep, since: datetime, *, now: datetime, again: bool) -> Iterable[Span]:
    match step.state:
        case StepState.STARTED:
            yield Span(since, max(now, since), Tone.BUSY, "work")
        case StepState.WAITING:
            yield Span(since, max(now, since), Tone.WAIT, "wait")
        case StepState.SUCCEEDED | StepState.SKIPPED if step.finished_at is not None:
            tone = Tone.GOOD if step.state == StepState.SUCCEEDED else Tone.WARN
            end = max(step.finished_at, since)
            if again:  # when the last attempt began is not recorded, only that it ended well
                yield from _wait(since, end)
                yield Span(end, end, tone, "mark")
            else:
                yield Span(since, end, tone, "work")
        case StepState.FAILED if step.finished_at is not None and not again:
            yield Span(since, max(step.finished_at, since), Tone.BAD, "work")


def _wait(begin: datetime, end: datetime) -> Iterable[Span]:
    if end > begin:
        yield Span(begin, end, Tone.WAIT, "wait")


def _failures(step: RunStep, events: Sequence[RunEvent]) -> tuple[RunEvent, ...]:
    kinds = (EventKind.FAILED, EventKind.CRASHED)
    return tuple(
        event
        for event in events
        if event.kind in kinds and event.step == step.name and event.direction == step.direction
    )


def _took(step: RunStep, failures: Sequence[RunEvent], now: datetime) -> timedelta | None:
    """From the first begin to the end, to its last failure, or to now."""
    if step.started_at is None:
        return None
    if step.state in (StepState.STARTED, StepState.WAITING):
        return now - step.started_at
    end = step.finished_at or (failures[-1].at if failures else None)
    return end - step.started_at if end else None


def _bar(span: Span, scale: Scale) -> Bar:
    left = scale.place(span.begin)
    return Bar(left, max(scale.place(span.end) - left, 0.0), span.tone, span.kind)


def _gaps(begin: datetime, end: datetime, busy: Iterable[Interval]) -> Iterable[Interval]:
    reached = begin
    for first, last in sorted(busy):
        if first > reached:
            yield reached, first
        reached = max(reached, last)
    if end > reached:
        yield reached, end
