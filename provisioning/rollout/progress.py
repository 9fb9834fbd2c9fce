"""How far a rollout is: counts in total and per wave, what failed, and what it waits for. Only reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, F, Min, Q
from django.db.models.fields.json import KT

from provisioning.models import OPEN_TARGETS, Rollout, RolloutTarget, TargetState
from provisioning.rollout.budget import Toll


@dataclass(frozen=True, slots=True)
class WaveProgress:
    """Targets of one wave by state; `late` of them joined after the approval."""

    number: int
    waiting: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    skipped: int = 0
    late: int = 0

    @property
    def total(self) -> int:
        return self.waiting + self.running + self.succeeded + self.failed + self.skipped


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failed targets with one class, code and statement."""

    budget_class: str
    code: str
    detail: str
    statement: str
    migration: str
    hint: str
    targets: int


@dataclass(frozen=True, slots=True)
class Progress:
    """The waves in order, and the failures with the most frequent first."""

    waves: tuple[WaveProgress, ...]
    failures: tuple[FailureGroup, ...]

    @property
    def total(self) -> WaveProgress:
        """All waves together, as wave -1."""
        names = ("waiting", "running", "succeeded", "failed", "skipped", "late")
        return WaveProgress(-1, **{name: sum(getattr(wave, name) for wave in self.waves) for name in names})


def progress_of(rollout: Rollout) -> Progress:
    """Of a rollout that was approved; a draft has no targets yet."""
    counts = {str(state): Count("pk", filter=Q(state=state)) for state in TargetState}
    waves = rollout.targets.values("wave").annotate(**counts, late_ones=Count("pk", filter=Q(late=True)))
    words = ("code", "detail", "statement", "migration", "hint")
    failed = rollout.targets.filter(state=TargetState.FAILED)
    grouped = failed.values(budget_class=KT("error__class"), **{word: KT(f"error__{word}") for word in words})
    groups = grouped.annotate(number=Count("pk")).order_by("-number", "budget_class", "code")
    return Progress(
        waves=tuple(
            WaveProgress(row["wave"], late=row["late_ones"], **{state: row[state] for state in counts})
            for row in waves.order_by("wave")
        ),
        failures=tuple(
            FailureGroup(
                budget_class=row["budget_class"],
                targets=row["number"],
                **{word: row[word] or "" for word in words},
            )
            for row in groups
        ),
    )


def toll_of(rollout: Rollout) -> Toll:
    """What counts against the budget now. Two small queries, both on an index."""
    counted = rollout.targets.filter(state=TargetState.FAILED, forgiven=False).order_by()
    grouped = counted.values_list(KT("error__class")).annotate(number=Count("pk"))
    rows = list(grouped.annotate(here=Count("pk", filter=Q(wave=rollout.wave))))
    wave = rollout.targets.filter(wave=rollout.wave).exclude(state=TargetState.SKIPPED)
    return Toll(
        failed=Counter({name: number for name, number, _here in rows}),
        failed_in_wave=sum(number for _name, _number, number in rows),
        wave_size=wave.count(),
    )


@dataclass(frozen=True, slots=True)
class Standing:
    """What of the open waves is not done. `due_at` is when the first of them may be tried next."""

    waiting: int
    running: int
    due_at: datetime | None


def standing_of(rollout: Rollout) -> Standing:
    """Of all clusters together."""
    unfinished = RolloutTarget.objects.filter(rollout=rollout, state__in=OPEN_TARGETS, wave__lte=rollout.wave)
    found: Mapping[str, object] = unfinished.aggregate(
        waiting=Count("pk", filter=Q(state=TargetState.WAITING)),
        running=Count("pk", filter=Q(state=TargetState.RUNNING)),
        due_at=Min(F("not_before")),
    )
    return Standing(**found)  # type: ignore[arg-type]  # the three aggregates above
