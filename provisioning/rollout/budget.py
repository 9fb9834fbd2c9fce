"""How many targets may fail before a rollout stops by itself. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from provisioning.rollout.errors import InvalidRollout

LOCK_TIMEOUT, DATA_ERROR, LOST_CONNECTION, DRIFT, OTHER = CLASSES = (
    "lock timeout", "data error", "lost connection", "drift", "other",
)  # fmt: skip
WHOLE: Final = 100


@dataclass(frozen=True, slots=True)
class Toll:
    """What a rollout has cost so far. `failed` counts by class, over all waves; the rest is of the current wave."""

    failed: Mapping[str, int]
    failed_in_wave: int = 0
    wave_size: int = 0

    @property
    def total(self) -> int:
        return sum(self.failed.values())

    def and_one(self, budget_class: str) -> Toll:
        """With one failure more in the current wave."""
        failed = {**self.failed, budget_class: self.failed.get(budget_class, 0) + 1}
        return Toll(failed, self.failed_in_wave + 1, self.wave_size)


@dataclass(frozen=True, slots=True)
class Budget:
    """At most `count` failures in all, `percent` of the current wave, and so many of a class. Empty: none at all."""

    count: int | None = None
    percent: float | None = None
    classes: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> Budget:
        """From a rollout's `max_failures`. Raises InvalidRollout."""
        count, percent, classes = kept.get("count"), kept.get("percent"), kept.get("classes", {})
        unknown = {*kept} - {"count", "percent", "classes"} | {*classes} - {*CLASSES}
        if unknown:
            raise InvalidRollout(f"Unknown: {', '.join(sorted(unknown))}.", field="max_failures")
        whole = [number for number in (count, *classes.values()) if number is not None]
        if not all(isinstance(number, int) and number >= 0 for number in whole):
            raise InvalidRollout("Failures are counted in whole numbers.", field="max_failures")
        if percent is not None and not 0 <= percent <= WHOLE:
            raise InvalidRollout("A share is 0 to 100 percent.", field="max_failures")
        if count is None and percent is None and not classes:
            count = 0
        return cls(count, percent, classes)

    def breach(self, toll: Toll) -> str:
        """In a sentence, what was overdrawn; empty within the budget."""
        if self.count is not None and toll.total > self.count:
            return f"{toll.total} targets failed; the budget is {self.count}."
        for name, most in self.classes.items():
            if (found := toll.failed.get(name, 0)) > most:
                return f"{found} targets failed by {name}; the budget is {most}."
        if self.percent is not None and toll.failed_in_wave * WHOLE > self.percent * toll.wave_size:
            share = round(toll.failed_in_wave * WHOLE / toll.wave_size, 1) if toll.wave_size else WHOLE
            return f"{share} % of the wave's {toll.wave_size} targets failed; the budget is {self.percent} %."
        return ""
