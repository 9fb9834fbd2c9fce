"""What a page says of one rollout right now, and how soon it should ask again.

See Note [One fragment, one token] in live.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from django.contrib.postgres.aggregates import StringAgg
from django.db.models import Case, CharField, Exists, F, Max, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import MD5, Cast, Coalesce, Concat, Greatest, Now

from controlplane.admin import live
from controlplane.admin.rehearsals import with_rehearsals
from controlplane.admin.rollout_waves import Wave, together
from controlplane.admin.words import duration
from controlplane.standstill import patience
from provisioning.databases.releases import TEXTS
from provisioning.models import (
    OPEN_TARGETS,
    OVER,
    PauseReason,
    Rollout,
    RolloutState,
    RolloutTarget,
    RunState,
    TargetState,
)
from provisioning.rollout.window import opens

SOON = timedelta(seconds=30)  # who is due for so long should have been taken
MANY = 500  # squares beyond which a page is asked for less often


@dataclass(frozen=True, slots=True)
class RolloutStanding:
    """One rollout as of one moment. `state` is a key of the label map; `waits` says why it does not go on, if so."""

    state: str
    sentence: str
    waits: tuple[str, ...]
    stalled: str
    cure: str
    as_of: datetime
    pace_s: float | None
    token: str


def with_live(rollouts: QuerySet[Rollout]) -> QuerySet[Rollout]:
    """Annotate the database's clock, the last sign of progress, and a fingerprint of all that squares and bars show."""
    flag = [Case(When(**{name: True}, then=Value("!")), default=Value("")) for name in ("late", "forgiven")]
    blocked = Case(When(blocked_by__isnull=False, then=Value("?")), default=Value(""))
    each = Concat(F("state"), Cast("attempts", CharField()), blocked, Value("."), *flag, output_field=CharField())
    targets = RolloutTarget.objects.filter(rollout=OuterRef("pk")).order_by().values("rollout")
    turn = Q(not_before=None) | Q(not_before__lte=Now() - SOON) | Q(state=TargetState.RUNNING)
    due = RolloutTarget.objects.filter(turn, rollout=OuterRef("pk"), wave__lte=OuterRef("wave"), state__in=OPEN_TARGETS)
    shown = MD5(StringAgg(each, delimiter=",", order_by="position"))
    texts = [f"release__{name}" for name in TEXTS]
    related = with_rehearsals(rollouts).select_related("release", "run")
    annotated: QuerySet[Rollout] = related.defer("plan", *texts).annotate(
        as_of=Now(),
        targets_shown=Subquery(targets.annotate(shown=shown).values("shown")),
        due=Exists(due),
        slowest=Subquery(targets.annotate(most=Max("seconds")).values("most")),
        progress_at=Greatest(
            Coalesce(F("approved_at"), F("created_at")),
            Subquery(targets.annotate(last=Max(Greatest("started_at", "finished_at"))).values("last")),
        ),
    )  # fmt: skip
    return annotated


def standing_of(rollout: Rollout, waves: Sequence[Wave]) -> RolloutStanding:
    """Of a rollout that was read by `with_live`."""
    now: datetime = rollout.as_of  # type: ignore[attr-defined]  # annotated by with_live
    late = stalled(rollout)
    return RolloutStanding(
        state=state_of(rollout, now),
        sentence=_sentence(rollout, now),
        waits=tuple(_waits(rollout, together(waves), now)) if rollout.state == RolloutState.RUNNING else (),
        stalled=late,
        cure=_cure(rollout),
        as_of=now,
        pace_s=_pace(rollout, now, targets=sum(wave.total for wave in waves), slow=bool(late)),
        token=token_of(rollout),
    )


def state_of(rollout: Rollout, now: datetime) -> str:
    """The key into the label map: `waiting` outside of its time, `stopped` if it paused by itself."""
    if rollout.state == RolloutState.PAUSED and rollout.pause_reason != PauseReason.OPERATOR:
        return "stopped"
    return "waiting" if opening_of(rollout, now) else str(rollout.state)


def opening_of(rollout: Rollout, now: datetime) -> datetime | None:
    """When a running rollout may work again; None when it may now, or does not run."""
    if rollout.state != RolloutState.RUNNING:
        return None
    return opens(now, starts_at=rollout.starts_at, window=rollout.window)


def token_of(rollout: Rollout) -> str:
    """A hash of everything the fragment shows but the clock."""
    now: datetime = rollout.as_of  # type: ignore[attr-defined]  # annotated by with_live
    run = (rollout.run.state, rollout.run.finished_at) if rollout.run else None
    shown = [
        rollout.version, rollout.state, rollout.wave, rollout.last_wave, opening_of(rollout, now), run,
        bool(stalled(rollout)), rollout.targets_shown,  # type: ignore[attr-defined]
        rollout.rehearsed, rollout.rehearsing,  # type: ignore[attr-defined]  # annotated by with_rehearsals
    ]  # fmt: skip
    return sha256(repr(shown).encode()).hexdigest()[:16]


def wave_of(rollout: Rollout) -> str:
    """`wave 2 of 4`; the canaries come before the first."""
    return f"wave {rollout.wave} of {rollout.last_wave}" if rollout.wave else "the canaries"


def window_of(rollout: Rollout) -> str:
    """`sat and sun, 22:00 to 04:00 UTC`; empty without one."""
    if rollout.window is None:
        return ""
    return f"{' and '.join(rollout.window['days'])}, {rollout.window['from']} to {rollout.window['to']} UTC"


def stalled(rollout: Rollout) -> str:
    """A sentence when a running rollout makes no progress though it may, else the empty string."""
    now: datetime = rollout.as_of  # type: ignore[attr-defined]  # annotated by with_live
    since: datetime = rollout.progress_at  # type: ignore[attr-defined]
    slowest = timedelta(seconds=rollout.slowest or 0)  # type: ignore[attr-defined]
    began = max(since, rollout.starts_at) if rollout.starts_at and rollout.starts_at <= now else since
    # In a window nobody knows when it opened last, so nothing is said there.
    may = rollout.state == RolloutState.RUNNING and opening_of(rollout, now) is None and rollout.window is None
    if not may or not rollout.due or now - began <= patience(slowest):  # type: ignore[attr-defined]
        return ""
    words = [f"No target ended or began for {duration(timedelta(seconds=int((now - began).total_seconds())))}"]
    if slowest:
        words.append(f"the slowest so far took {duration(slowest)}")
    return "; ".join(words) + "."


def _sentence(rollout: Rollout, now: datetime) -> str:
    match RolloutState(rollout.state):
        case RolloutState.DRAFT:
            return "Nothing is touched before somebody else has read the plan and approved it."
        case RolloutState.RUNNING:
            return f"{'Next' if opening_of(rollout, now) else 'Now'}: {wave_of(rollout)}."
        case RolloutState.PAUSED:
            return f"Stands at {wave_of(rollout)}: {PauseReason(rollout.pause_reason).label}."
        case RolloutState.SUCCEEDED:
            return f"Everybody who was meant is on {rollout.release.name}, or was skipped with a reason."
        case RolloutState.CANCELLED:
            return "Cancelled. Who had arrived stays there; everybody else is on the release they were on."


def _cure(rollout: Rollout) -> str:
    return {
        PauseReason.ERROR_BUDGET: "Read the failures below. Mend the cause and retry them, or resume with a reason: "
        "what failed so far costs the budget nothing any more.",
        PauseReason.VERIFICATION: "Find out what changed it, and repair that. Then retry what failed, or resume with "
        "a reason.",
        PauseReason.FAILURES_LEFT: "Retry what failed or skip it with a reason, or cancel.",
    }.get(PauseReason(rollout.pause_reason) if rollout.pause_reason else PauseReason.OPERATOR, "")


def _waits(rollout: Rollout, targets: Wave, now: datetime) -> Iterator[str]:
    """Why it is not faster, one sentence each."""
    if at := opening_of(rollout, now):
        until = f"{at.astimezone(UTC):%a %d %b %H:%M} UTC"
        outside = rollout.window is not None and not (rollout.starts_at and rollout.starts_at > now)
        window = f"Waits for its window ({window_of(rollout)}), which opens {until}."
        yield window if outside else f"Waits for its start, {until}."
    if rollout.run is not None and rollout.run.state in (RunState.PAUSED, RunState.PARKED):
        yield f"Its operation is {rollout.run.state}: it needs a person."
    if targets.blocked:
        yield f"{_some(targets.blocked)} for an operation on the same tenant or pool to end."
    if targets.again:
        due = f", the next {targets.due_at:%H:%M:%S} UTC" if targets.due_at and targets.due_at > now else ""
        yield f"{_some(targets.again)} to be tried again{due}."


def _some(number: int) -> str:
    return "1 target waits" if number == 1 else f"{number} targets wait"


def _pace(rollout: Rollout, now: datetime, *, targets: int, slow: bool) -> float | None:
    if rollout.state in OVER:
        return None
    if opening_of(rollout, now) or slow:
        return live.SLOWEST
    return live.FAST if rollout.state == RolloutState.RUNNING and targets <= MANY else live.SLOWER
