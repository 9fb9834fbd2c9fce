"""The targets of a rollout one by one: a square each, and by name those that somebody should look at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Case, Q, When
from django.urls import reverse
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from controlplane.admin.labels import label
from controlplane.admin.rollout_waves import with_cause
from provisioning.models import Rollout, TargetState

MOST_SQUARES = 2_000  # above it a bar per wave says more
MOST_NAMED = 500  # of a rollout that has no squares
SHOWN = 24  # names of a list; the rest is a link away
COLUMNS = (
    "pk", "position", "wave", "state", "late", "attempts", "blocked_by", "reason", "cause", "tenant__slug",
    "pool__schema", "cluster__name", "error__code",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Named:
    """One target by name. `state` is a key of the label map; `blocked_by` the operation that it waits for."""

    name: str
    url: str
    wave: int
    state: str
    late: bool
    reason: str
    cause: str
    blocked_by: UUID | None


@dataclass(frozen=True, slots=True)
class Listed:
    """The first of a list of targets, and where all of them are."""

    kind: str
    first: tuple[Named, ...]
    total: int
    url: str

    @property
    def more(self) -> int:
        return self.total - len(self.first)


def targets_of(rollout: Rollout, total: int) -> list[Named]:
    """All of them in order; of more than MOST_SQUARES those that failed, are blocked, joined late or are skipped."""
    targets = with_cause(rollout.targets.all()).order_by("position")
    if total > MOST_SQUARES:
        wait = Q(state=TargetState.WAITING, blocked_by__isnull=False)
        worst = Case(When(state=TargetState.FAILED, then=0), When(wait, then=1), When(late=True, then=2), default=3)
        notable = Q(state__in=[TargetState.FAILED, TargetState.SKIPPED]) | Q(late=True) | wait
        targets = targets.filter(notable).order_by(worst, "position")[:MOST_NAMED]
    page = reverse("admin:provisioning_rollouttarget_change", args=[0])
    return [_named(row, page) for row in targets.values(*COLUMNS)]


def state_of(state: str, blocked_by: UUID | None) -> str:
    """The key into the label map: the target's state, or `blocked` while it waits for an operation."""
    return "blocked" if state == TargetState.WAITING and blocked_by is not None else state


def name_of(slug: str | None, schema: str | None, cluster: str) -> str:
    """`acme`, or `pool_1 on local-1`."""
    return slug or f"{schema} on {cluster}"


def squares(targets: Iterable[Named]) -> list[tuple[int, SafeString]]:
    """For each wave its targets as links with a letter and a text name. A template would take ten times as long."""
    drawn: dict[int, list[str]] = {}
    for target in targets:
        shown = label("target", target.state)
        late = ", late" if target.late else ""
        drawn.setdefault(target.wave, []).append(
            f'<a class="tn-square tn-{shown.tone}" href="{target.url}" '
            f'aria-label="{escape(target.name)}: {shown.word}{late}">{shown.letter}</a>'
        )
    return [(wave, mark_safe("".join(links))) for wave, links in drawn.items()]  # noqa: S308  each part was escaped


def by_cause(targets: Sequence[Named]) -> Mapping[str, tuple[Named, ...]]:
    """The first failed targets of each cause."""
    found: dict[str, list[Named]] = {}
    for target in targets:
        if target.state == TargetState.FAILED and len(of_cause := found.setdefault(target.cause, [])) < SHOWN:
            of_cause.append(target)
    return {cause: tuple(names) for cause, names in found.items()}


def apart(rollout: Rollout, targets: Sequence[Named], totals: Mapping[str, int]) -> list[Listed]:
    """Those that stand apart: blocked, late, skipped. `totals` counts each, also those that are not in `targets`."""
    chosen = {
        "blocked": [target for target in targets if target.state == "blocked"],
        "late": [target for target in targets if target.late],
        "skipped": [target for target in targets if target.state == TargetState.SKIPPED],
    }
    query = {"blocked": "blocked=yes", "late": "late__exact=1", "skipped": "state__exact=skipped"}
    return [
        Listed(kind, tuple(named[:SHOWN]), totals[kind], list_url(rollout, query[kind]))
        for kind, named in chosen.items()
        if totals[kind]
    ]


def list_url(rollout: Rollout, query: str = "") -> str:
    """The list of the rollout's targets, or of some."""
    url = reverse("admin:provisioning_rollouttarget_changelist")
    return f"{url}?rollout={rollout.pk}{'&' if query else ''}{query}"


def _named(row: Mapping[str, Any], page: str) -> Named:
    return Named(
        name=name_of(row["tenant__slug"], row["pool__schema"], row["cluster__name"]),
        url=page.replace("/0/", f"/{row['pk']}/"),
        wave=row["wave"],
        state=state_of(row["state"], row["blocked_by"]),
        late=row["late"],
        reason=row["reason"],
        cause=row["cause"],
        blocked_by=row["blocked_by"],
    )
