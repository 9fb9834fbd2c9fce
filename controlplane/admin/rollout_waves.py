"""How far a rollout is, as its page draws it: a bar per wave, what failed by cause, and what the budget has left.

Each answer is one query, however many targets there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, Min, Q, QuerySet, TextField, Value
from django.db.models.fields.json import KT
from django.db.models.functions import MD5, Coalesce, Concat

from controlplane.admin.labels import Label, label
from provisioning.models import Rollout, RolloutTarget, TargetState
from provisioning.rollout.budget import Budget, Toll

DRAWN = (
    TargetState.SUCCEEDED, TargetState.RUNNING, TargetState.FAILED, TargetState.SKIPPED, TargetState.WAITING,
)  # fmt: skip  # from left to right; what is left to do comes last
CAUSE = ("class", "code", "sqlstate", "migration", "statement")
WHOLE = 100


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a wave's bar: so many targets of one state, at these shares of its width."""

    state: str
    label: Label
    number: int
    left: float
    width: float


@dataclass(frozen=True, slots=True)
class Wave:
    """Targets of one wave by state. `late` joined after the approval, `blocked` and `again` wait for something.

    `charged` failed and count against the budget; `due_at` is when the first that waits may be tried.
    """

    number: int
    states: dict[str, int]
    late: int = 0
    blocked: int = 0
    again: int = 0
    charged: int = 0
    due_at: datetime | None = None

    @property
    def name(self) -> str:
        return f"wave {self.number}" if self.number else "canaries"

    @property
    def total(self) -> int:
        return sum(self.states.values())

    @property
    def over(self) -> int:
        """Those that nobody waits for any more."""
        return self.total - self.states[TargetState.WAITING] - self.states[TargetState.RUNNING]

    @property
    def late_share(self) -> float:
        return self.late / self.total if self.total else 0.0

    def parts(self) -> Iterator[Part]:
        """The bar, without what there is none of."""
        left = 0.0
        for state in DRAWN:
            if number := self.states[state]:
                width = number / self.total
                yield Part(state, label("target", state), number, left, width)
                left += width

    def numbers(self) -> list[tuple[str, int]]:
        """The same for the table."""
        return [(str(state), self.states[state]) for state in DRAWN]


@dataclass(frozen=True, slots=True)
class Cause:
    """Failed targets with one cause. `detail`, `hint` and `difference` are those of one of them."""

    key: str
    targets: int
    charged: int
    budget_class: str
    code: str
    sqlstate: str
    migration: str
    statement: str
    detail: str
    hint: str
    difference: str


@dataclass(frozen=True, slots=True)
class Spent:
    """One line of the budget: `used` of `most`, in a sentence."""

    sentence: str
    used: float
    most: float

    @property
    def over(self) -> bool:
        return self.used > self.most


def waves_of(rollout: Rollout) -> list[Wave]:
    """In their order; a draft has none yet."""
    states = {str(state): Count("pk", filter=Q(state=state)) for state in TargetState}
    waits = Q(state=TargetState.WAITING)
    by_wave: Any = rollout.targets.order_by("wave").values("wave")
    rows = by_wave.annotate(
        **states,
        late_ones=Count("pk", filter=Q(late=True)),
        blocked=Count("pk", filter=waits & Q(blocked_by__isnull=False)),
        again=Count("pk", filter=waits & Q(attempts__gt=0, blocked_by=None)),
        charged=Count("pk", filter=Q(state=TargetState.FAILED, forgiven=False)),
        due_at=Min("not_before", filter=waits),
    )  # fmt: skip
    return [
        Wave(
            number=row["wave"],
            states={state: row[state] for state in states},
            late=row["late_ones"],
            **{name: row[name] for name in ("blocked", "again", "charged", "due_at")},
        )
        for row in rows
    ]


def together(waves: Sequence[Wave]) -> Wave:
    """All waves as one, with number -1."""
    counts = {str(state): sum(wave.states[state] for wave in waves) for state in TargetState}
    names = ("late", "blocked", "again", "charged")
    due = min((wave.due_at for wave in waves if wave.due_at), default=None)
    return Wave(-1, counts, due_at=due, **{name: sum(getattr(wave, name) for wave in waves) for name in names})


def with_cause(targets: QuerySet[RolloutTarget]) -> QuerySet[RolloutTarget]:
    """Annotate `cause`: the same for all that failed of the same class, code, SQLSTATE, migration and statement."""
    words = [Coalesce(KT(f"error__{word}"), Value(""), output_field=TextField()) for word in CAUSE]
    whole = Concat(*(part for word in words for part in (word, Value("|"))), output_field=TextField())
    caused: QuerySet[RolloutTarget] = targets.annotate(cause=MD5(whole))
    return caused


def causes_of(rollout: Rollout) -> list[Cause]:
    """What failed and why, the most frequent first."""
    said = (*CAUSE, "detail", "hint", "difference")
    by_cause: Any = with_cause(rollout.targets.filter(state=TargetState.FAILED)).order_by()
    groups = by_cause.values("cause").annotate(
        number=Count("pk"),
        charged=Count("pk", filter=Q(forgiven=False)),
        **{f"its_{word}": Coalesce(Min(KT(f"error__{word}")), Value(""), output_field=TextField()) for word in said},
    )  # fmt: skip
    return [
        Cause(row["cause"], row["number"], row["charged"], row["its_class"], *(row[f"its_{word}"] for word in said[1:]))
        for row in groups.order_by("-number", "its_class", "its_code", "cause")
    ]


def toll_of(rollout: Rollout, waves: Iterable[Wave], causes: Iterable[Cause]) -> Toll:
    """What counts against the budget, from what was read already."""
    failed: Counter[str] = Counter()
    for cause in causes:
        failed[cause.budget_class] += cause.charged
    here = next((wave for wave in waves if wave.number == rollout.wave), None)
    size = here.total - here.states[TargetState.SKIPPED] if here else 0
    return Toll(failed, failed_in_wave=here.charged if here else 0, wave_size=size)


def spent(budget: Budget, toll: Toll) -> Iterator[Spent]:
    """The budget line by line: `2 of 3 failures used`."""
    if budget.count is not None:
        yield Spent(f"{toll.total} of {budget.count} failures used", toll.total, budget.count)
    for name, most in budget.classes.items():
        used = toll.failed.get(name, 0)
        yield Spent(f"{used} of {most} used for {name}", used, most)
    if budget.percent is not None:
        share = toll.failed_in_wave * WHOLE / toll.wave_size if toll.wave_size else 0.0
        yield Spent(f"{share:.3g} % of this wave failed, of {budget.percent:g} %", share, budget.percent)
