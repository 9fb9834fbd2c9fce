"""How far a rollout is: counts in total and per wave, what failed, and what it waits for. Only reads."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, F, Min, Q
from django.db.models.fields.json import KT

from provisioning.models import OPEN_TARGETS, Rollout, RolloutTarget, TargetState
from provisioning.rollout.budget import Toll

GROUPED = ("error__class", "error__code", "error__detail", "error__statement", "error__migration", "error__hint")


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

    targets: int
    budget_class: str
    code: str
    detail: str
    statement: str
    migration: str
    hint: str


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
    waves: dict[int, Counter[str]] = defaultdict(Counter)
    by_state = rollout.targets.order_by().values_list("wave", "state", "late").annotate(number=Count("pk"))
    for wave, state, late, number in by_state:
        waves[wave][state] += number
        waves[wave]["late"] += number * late
    grouped = rollout.targets.filter(state=TargetState.FAILED).order_by().values_list(*map(KT, GROUPED))
    groups = [(number, words) for *words, number in grouped.annotate(number=Count("pk"))]
    return Progress(
        waves=tuple(WaveProgress(wave, **counts) for wave, counts in sorted(waves.items())),
        failures=tuple(
            FailureGroup(number, *(str(word or "") for word in words))
            for number, words in sorted(groups, key=lambda group: -group[0])
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
