"""What somebody asks of a rollout, checked and as its row keeps it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from provisioning.models import Rollout
from provisioning.rollout.budget import Budget
from provisioning.rollout.errors import InvalidRollout
from provisioning.rollout.selection import checked_selection
from provisioning.rollout.waves import checked_waves
from provisioning.rollout.window import checked_window, opens
from tenants.models import Tenant

MOST_LANES = 64
LONGEST_LOCK_MS = 600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """See Rollout for each field. `lock_timeout_ms` is in milliseconds, `starts_at` and `window` are in UTC."""

    selection: Mapping[str, Any] = field(default_factory=dict)
    canary: Sequence[str] = ()
    waves: Sequence[Mapping[str, Any]] = ()
    parallelism: int = 2
    lock_timeout_ms: int = 2_000
    max_failures: Mapping[str, Any] = field(default_factory=dict)
    starts_at: datetime | None = None
    window: Mapping[str, Any] | None = None

    def row(self, *, now: datetime) -> dict[str, Any]:
        """The fields of a Rollout. Raises InvalidRollout, naming the field."""
        if not 1 <= self.parallelism <= MOST_LANES:
            raise InvalidRollout(f"1 to {MOST_LANES} lanes on each cluster.", field="parallelism")
        if not 1 <= self.lock_timeout_ms <= LONGEST_LOCK_MS:
            raise InvalidRollout(f"A lock is waited for 1 to {LONGEST_LOCK_MS} ms.", field="lock_timeout_ms")
        if unknown := {*self.canary} - {*Tenant.objects.filter(slug__in=self.canary).values_list("slug", flat=True)}:
            raise InvalidRollout(f"There is no tenant {', '.join(sorted(unknown))}.", field="canary")
        Budget.of(self.max_failures)
        window = checked_window(self.window)
        opens(now, starts_at=self.starts_at, window=window)
        return {
            **asdict(self),
            "selection": checked_selection(self.selection),
            "canary": sorted({*self.canary}),
            "waves": checked_waves(self.waves),
            "starts_at": self.starts_at.astimezone(UTC) if self.starts_at else None,
            "max_failures": dict(self.max_failures),
            "window": window,
        }


def shown(rollout: Rollout) -> dict[str, Any]:
    """The terms of a rollout as its plan shows them, and as the digest of that binds them."""
    names = ("selection", "canary", "waves", "parallelism", "lock_timeout_ms", "max_failures", "window")
    starts_at = rollout.starts_at.isoformat() if rollout.starts_at else None
    return {**{name: getattr(rollout, name) for name in names}, "starts_at": starts_at}
