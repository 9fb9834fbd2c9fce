"""Watch a rollout until it is over or waits for a person: bars in a terminal, a line every few seconds in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import NoReturn, Protocol, TextIO

from django.db import InterfaceError, OperationalError, close_old_connections
from django.utils import timezone
from tqdm import tqdm

from controlplane.rollout_words import done, moment, progress_line, span, wave_name
from provisioning import lifecycle
from provisioning.databases import releases as texts
from provisioning.models import Rollout, RolloutState
from provisioning.rollout.eta import Eta, eta_of
from provisioning.rollout.progress import Progress
from provisioning.rollout.window import opens

TEXTS = [f"release__{name}" for name in texts.TEXTS]  # megabytes that nobody looks at here
LOOK_EVERY_S = 1.0
LINE_EVERY_S = 5.0

wait: Callable[[float], None] = time.sleep
"""Between two looks: a person watches, and the rows say when it is over."""


@dataclass(frozen=True, slots=True)
class Sight:
    """How a rollout stands at one moment. `note` says what all of it waits for, if it does."""

    rollout: Rollout
    progress: Progress
    eta: Eta | None
    note: str
    at: datetime


class Display(Protocol):
    def show(self, sight: Sight) -> None: ...

    def away(self) -> None:
        """The control database does not answer; it is asked again."""


@dataclass(slots=True)
class Bars:
    """A bar for each wave, which fills up with whatever has ended."""

    file: TextIO
    bars: dict[int, tqdm[NoReturn]] = field(default_factory=dict)

    def show(self, sight: Sight) -> None:
        for wave in sight.progress.waves:
            if wave.number not in self.bars:
                place = len(self.bars)
                self.bars[wave.number] = tqdm(
                    desc=wave_name(wave.number), unit="target", position=place, file=self.file, leave=True
                )
            bar = self.bars[wave.number]
            bar.total, bar.n = wave.total, done(wave)
            said = [f"{wave.failed} failed"] if wave.failed else []
            if wave.number == sight.rollout.wave and sight.note:
                said.append(sight.note)
            elif wave.number == sight.rollout.wave and sight.eta:
                said.append(f"all through about {span(sight.eta)}")
            bar.set_postfix_str(", ".join(said), refresh=True)

    def away(self) -> None:
        tqdm.write("The control database does not answer; asking again.", file=self.file)

    def close(self) -> None:
        for bar in self.bars.values():
            bar.close()


@dataclass(slots=True)
class Lines:
    """A line when the wave or the state changes, and every few seconds between; flushed, for whoever tails it."""

    file: TextIO
    said: str = ""
    said_at: datetime | None = None
    place: tuple[str, int] | None = None

    def show(self, sight: Sight) -> None:
        place = (str(sight.rollout.state), sight.rollout.wave)
        due = self.said_at is None or (sight.at - self.said_at).total_seconds() >= LINE_EVERY_S
        line = progress_line(sight.rollout, sight.progress, sight.eta, sight.note)
        if (due and line != self.said) or place != self.place:
            self._say(line, sight.at)
            self.place = place

    def away(self) -> None:
        self._say("The control database does not answer; asking again.", timezone.now())

    def close(self) -> None:
        """Nothing is open."""

    def _say(self, line: str, at: datetime) -> None:
        if line != self.said or at != self.said_at:
            self.file.write(f"{at:%H:%M:%S} {line}\n")
            self.file.flush()
        self.said, self.said_at = line, at


def follow(rollout: Rollout, display: Display) -> Sight:
    """Look, show and wait, until it does not run any more. The last sight."""
    while True:
        try:
            sight = look(rollout)
        except (OperationalError, InterfaceError):
            display.away()
            close_old_connections()
        else:
            display.show(sight)
            if sight.rollout.state != RolloutState.RUNNING:
                return sight
        wait(LOOK_EVERY_S)


def look(rollout: Rollout) -> Sight:
    """As it is now: some small queries."""
    now, at = Rollout.objects.select_related("release").defer("plan", *TEXTS).get(pk=rollout.pk), timezone.now()
    begins = opens(at, starts_at=now.starts_at, window=now.window) if now.state == RolloutState.RUNNING else None
    note = f"waits until {moment(begins)} UTC" if begins else ""
    return Sight(now, lifecycle.progress_of(now), eta_of(now, now=at), note, at)


@contextmanager
def display_on(file: TextIO, *, terminal: bool) -> Iterator[Bars | Lines]:
    display: Bars | Lines = Bars(file) if terminal else Lines(file)
    try:
        yield display
    finally:
        display.close()
