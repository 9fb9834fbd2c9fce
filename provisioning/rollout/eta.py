"""When a rollout will be through, as a range; never a guess that looks like a measurement."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from django.db.models import Count

from provisioning.models import OPEN_TARGETS, Rollout, RolloutState, TargetState
from provisioning.rollout.window import opens

LOOKED_AT = 200  # the latest replays
FEWEST = 5
BETWEEN_WAVES = timedelta(seconds=6)  # lanes end, the run looks, other lanes begin
P95 = 95


@dataclass(frozen=True, slots=True)
class Eta:
    """If each target that is left takes as long as half of the latest did; and if each took as the slowest of them."""

    earliest: datetime
    latest: datetime


def eta_of(rollout: Rollout, *, now: datetime) -> Eta | None:
    """None for one that does not run, has nothing left, or has done too little to say. Times of waiting are not in it.

    A cluster's lanes share its targets; the slowest cluster is what is waited for.
    """
    if rollout.state != RolloutState.RUNNING:
        return None
    done = rollout.targets.filter(state=TargetState.SUCCEEDED, seconds__isnull=False)
    latest = done.order_by("-finished_at").values_list("seconds", flat=True)[:LOOKED_AT]
    lately = sorted(seconds for seconds in latest if seconds is not None)
    left = rollout.targets.filter(state__in=OPEN_TARGETS).order_by().values("cluster").annotate(number=Count("pk"))
    most = max((row["number"] for row in left), default=0)
    if not most or len(lately) < FEWEST:
        return None
    begins = opens(now, starts_at=rollout.starts_at, window=rollout.window) or now
    turns, waves = ceil(most / rollout.parallelism), rollout.last_wave - rollout.wave + 1
    median, slow = lately[len(lately) // 2], lately[min(len(lately) - 1, len(lately) * P95 // 100)]
    return Eta(
        earliest=begins + timedelta(seconds=turns * median),
        latest=begins + timedelta(seconds=turns * slow) + waves * BETWEEN_WAVES,
    )
