"""What a page says of one operation right now, and how soon it should ask again.

# Note [One fragment, one token]
Badge, progress, timeline and buttons are one fragment under one token, the hash of everything they show. The browser
sends back the token it shows: an equal one is answered with 204 and nothing moves. Swapped apart they drift apart.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from uuid import UUID

from django.contrib.postgres.aggregates import StringAgg
from django.db.models import Avg, Case, CharField, DurationField, F, Max, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Cast, Coalesce, Concat, Greatest, Now

from controlplane.admin.words import duration
from controlplane.standstill import patience
from provisioning.models import (
    HOLDING,
    Control,
    Direction,
    QueuePulse,
    Run,
    RunEvent,
    RunState,
    RunStep,
    StepState,
)

SILENCE = timedelta(seconds=60)  # nobody looked for work for so long: no worker is running
USUAL_OF = 50  # the last so many runs of that step

FAST, SLOWER, SLOWEST = 2.0, 5.0, 15.0  # seconds between two questions
OLD = timedelta(minutes=10)
JITTER = 0.2


@dataclass(frozen=True, slots=True)
class Standing:
    """One operation as of one moment. `state` is a key of the label map; `pace_s` is None when nothing will change."""

    state: str
    sentence: str
    stalled: str
    completed: int
    total: int
    phase: str
    as_of: datetime
    pace_s: float | None
    token: str


def standing_of(run: Run, steps: Sequence[RunStep], *, blocked_by: Run | None) -> Standing:
    """From a run read by `with_standing` and its steps."""
    now: datetime = run.as_of  # type: ignore[attr-defined]  # annotated by with_standing
    late = stalled(run)
    rows = [step for step in steps if step.direction == run.direction]
    done = [step for step in rows if step.state in (StepState.SUCCEEDED, StepState.SKIPPED)]
    current = next((step for step in rows if step.name == run.step), None)
    return Standing(
        state=state_of(run),
        sentence=_sentence(run, _place(run, rows, current), now, blocked_by),
        stalled=late,
        completed=len(done),
        total=len(rows),
        phase=run.step,
        as_of=now,
        pace_s=_pace(run, now),
        token=token_of(run, stalled=bool(late)),
    )


def state_of(run: Run) -> str:
    """The key into the label map: the run's state, or `undoing` while it takes its effects back."""
    if run.state == RunState.RUNNING and run.direction == Direction.UNDO:
        return "undoing"
    return str(run.state)


def with_standing(runs: QuerySet[Run]) -> QuerySet[Run]:
    """Annotate the database's clock, the last sign of progress, how long the current step usually takes, and a
    fingerprint of steps and events: all in the one query that reads the run.
    """
    last_alike = RunStep.objects.filter(
        run__workflow=OuterRef(OuterRef("workflow")),
        name=OuterRef(OuterRef("step")),
        direction=OuterRef(OuterRef("direction")),
        state=StepState.SUCCEEDED,
        attempts=0,
    ).order_by("-pk")[:USUAL_OF]
    took = Avg(F("finished_at") - F("started_at"), output_field=DurationField())
    alike = RunStep.objects.filter(pk__in=last_alike.values("pk")).order_by().values("direction")
    steps = RunStep.objects.filter(run=OuterRef("pk")).order_by().values("run")
    events = RunEvent.objects.filter(run=OuterRef("pk")).order_by().values("run")
    each = Concat(
        F("direction"), Value(":"), F("name"), Value(":"), F("state"), Value(":"), Cast("attempts", CharField()),
        Value(":"), Cast("crashes", CharField()), Value(":"), F("note"), output_field=CharField(),
    )  # fmt: skip
    touched = Max(Greatest(F("started_at"), F("finished_at")))
    return runs.annotate(
        as_of=Now(),
        usual=Subquery(alike.annotate(took=took).values("took")),
        last_event=Subquery(events.annotate(last=Max("id")).values("last")),
        steps_shown=Subquery(
            steps.annotate(shown=StringAgg(each, delimiter="|", order_by=("direction", "position"))).values("shown")
        ),
        progress_at=Greatest(
            Coalesce(F("started_at"), F("created_at")),
            Subquery(steps.annotate(last=touched).values("last")),
            Subquery(events.annotate(last=Max("at")).values("last")),
        ),
    )


def blocker_of(run: Run) -> Run | None:
    """Who holds the tenant that a queued run waits for."""
    if run.state != RunState.QUEUED or run.lock_key is None:
        return None
    return Run.objects.filter(lock_key=run.lock_key, state__in=HOLDING).exclude(pk=run.pk).first()


def token_of(run: Run, *, stalled: bool) -> str:
    """A hash of everything the fragment shows but the clock. See Note [One fragment, one token]."""
    shown = [
        run.state, run.direction, run.control, run.step, run.attempts, run.crashes, run.owner, run.pivoted, run.error,
        run.run_at if not run.held else None, run.finished_at, stalled,
        getattr(run, "steps_shown", None), getattr(run, "last_event", None),
    ]  # fmt: skip
    return sha256(repr(shown).encode()).hexdigest()[:16]


def trigger(pace_s: float | None) -> str:
    """The htmx trigger of a fragment, with jitter so that a hundred open pages do not ask at once; "" when done."""
    if pace_s is None:
        return ""
    seconds = pace_s * random.uniform(1 - JITTER, 1 + JITTER)
    visible = "[document.visibilityState === 'visible']"
    return f"every {seconds:.2f}s {visible}, visibilitychange{visible} from:document"


def silent_since() -> tuple[bool, datetime | None]:
    """Whether no worker looked for work within SILENCE, and when one last did (None: never)."""
    pulse = QueuePulse.objects.aggregate(
        last=Max("looked_at"),
        fresh=Max(Case(When(Q(looked_at__gt=Now() - SILENCE), then=Value(1)), default=Value(0))),
    )
    return not pulse["fresh"], pulse["last"]


def open_run_of(tenant_id: UUID) -> Run | None:
    """The unfinished operation of a tenant; there is one at most."""
    return Run.objects.filter(tenant_id=tenant_id, finished_at=None, parent=None).order_by("created_at").first()


def stalled(run: Run) -> str:
    """A sentence when an open run makes no progress, else the empty string."""
    if run.ended or run.state in (RunState.PAUSED, RunState.PARKED):
        return ""
    now: datetime = run.as_of  # type: ignore[attr-defined]  # annotated by with_standing
    usual: timedelta | None = run.usual  # type: ignore[attr-defined]
    since = now - run.progress_at  # type: ignore[attr-defined]
    late = run.deadline_at is not None and run.deadline_at < now
    due = run.held or run.run_at <= now
    limit = patience(usual) if usual is not None else None
    if not late and (limit is None or not due or since <= limit):
        return ""
    words = [f"No progress for {duration(timedelta(seconds=int(since.total_seconds())))}"]
    if usual is not None:
        words.append(f"this step usually takes {duration(usual)}")
    if late:
        words.append("its deadline has passed")
    words.append(f"held by worker {run.owner}" if run.held else "no worker holds it")
    return "; ".join(words) + "."


def _pace(run: Run, now: datetime) -> float | None:
    if run.ended:
        return None
    if now - run.progress_at > OLD:  # type: ignore[attr-defined]  # annotated by with_standing
        return SLOWEST
    return FAST if run.state == RunState.RUNNING and run.held else SLOWER


def _place(run: Run, rows: Sequence[RunStep], current: RunStep | None) -> str:
    """`step 3 of 11, bucket`: counted in the order in which this direction goes."""
    if current is None:
        return run.step
    before = [row for row in rows if (row.position < current.position) == (run.direction == Direction.DO)]
    ordinal = len([row for row in before if row.pk != current.pk]) + 1
    return f"step {ordinal} of {len(rows)}, {run.step}"


def _sentence(run: Run, position: str, now: datetime, blocked_by: Run | None) -> str:
    if run.state == RunState.QUEUED and blocked_by is not None:
        return f"Waits for {blocked_by.public_id} on the same tenant to end."
    if run.state == RunState.RUNNING:
        return _running(run, position, now)
    if run.forced:
        return f"Declared {run.state} by a person; no step looked at what was made."
    return {
        RunState.QUEUED: "Accepted. Waits for a worker, or for a place on its cluster.",
        RunState.PAUSED: f"Paused at the boundary before {position}. Nothing runs until somebody resumes it.",
        RunState.PARKED: f"Stopped at {position}: it needs a person.",
        RunState.SUCCEEDED: "Done.",
        RunState.FAILED: "Failed. Everything it had made was removed again.",
        RunState.CANCELLED: "Cancelled. Everything it had made was removed again.",
    }[RunState(run.state)]


def _running(run: Run, position: str, now: datetime) -> str:
    doing = "Undoing" if run.direction == Direction.UNDO else "Doing"
    asked = ""
    if run.control == Control.PAUSE:
        asked = " Will pause at the next step boundary."
    elif run.control == Control.CANCEL:
        asked = " Will turn back at the next step boundary."
    if run.held:
        return f"{doing} {position}, on worker {run.owner}.{asked}"
    if run.run_at > now:
        nth = f" (attempt {run.attempts + 1})" if run.attempts else ""
        return f"Waits to go on with {position}{nth}: next at {run.run_at:%H:%M:%S} UTC.{asked}"
    return f"Between steps at {position}: waits for a worker.{asked}"
