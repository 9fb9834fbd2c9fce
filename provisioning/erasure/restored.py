"""The restore guard: which databases come from before an erasure that was certified. They are not to be served.

# Note [What the guard asks, and how often]
One query of the keyring, one of the control database, and one of each database that a certified erasure was in. Where
nothing was ever erased that is the first two. `/readyz` asks at most once in KEPT_S, so the first time when a process
starts; the sweeper asks every five minutes and says it in the log.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.utils import timezone

from provisioning.databases.marks import mark_of
from provisioning.databases.servers import ServerRefused, ServerUnavailable
from provisioning.erasure.ledger import CONTROL, Place
from provisioning.models import LedgerMark, Tombstone
from provisioning.providers.keys import keyring_errors
from tenants.models import Cluster

KEPT_S = 30.0
CROSSING = timedelta(minutes=5)  # between the ledger's commit and the bar's, which a crash may lie between


@dataclass(frozen=True, slots=True)
class Behind:
    """A database that is older than erasures: its mark, the mark it should have, and the erasures to replay."""

    place: Place
    mark: int
    expected: int
    requests: tuple[UUID, ...]

    def __str__(self) -> str:
        named = ", ".join(str(request) for request in self.requests[:3])
        more = f" and {len(self.requests) - 3} more" if len(self.requests) > 3 else ""  # noqa: PLR2004
        return (
            f"The database {self.place} is older than {len(self.requests)} erasures: it was restored."
            f" Replay the requests {named}{more}."
        )


def behind() -> tuple[Behind, ...]:
    """Every database that is. One that does not answer is not among them: it serves nobody either.

    Raises KeyringUnreachable.
    """
    found = []
    for place, stones in _expected().items():
        mark = _mark(place)
        missing = [stone for stone in stones if mark is not None and (stone.certified or 0) > mark]
        if mark is not None and missing:
            requests = tuple(stone.request for stone in missing)
            found.append(Behind(place, mark, max(stone.certified or 0 for stone in missing), requests))
    if forgotten := _forgotten():
        control = LedgerMark.objects.first() or LedgerMark()
        requests = tuple(stone.request for stone in forgotten)
        found.append(Behind(CONTROL, control.bar, forgotten[-1].seq, requests))
    return tuple(found)


def replay_tombstones(place: Place) -> tuple[Tombstone, ...]:
    """What must be erased again in a database, the oldest first: all that its mark does not know. Raises as `behind`.

    Whoever has erased and verified one anew calls `ledger.mark` of it; for the control database's forgotten ones,
    `ledger.crossed` in the transaction that takes the request up again.
    """
    stones = {stone.seq: stone for stone in _expected().get(place, ()) if (stone.certified or 0) > (_mark(place) or 0)}
    if place == CONTROL:
        stones |= {stone.seq: stone for stone in _forgotten()}
    return tuple(sorted(stones.values(), key=order))


def order(stone: Tombstone) -> tuple[bool, int]:
    """As marks count: by the second number, and then what was never certified."""
    return stone.certified is None, stone.certified or stone.seq


def behind_lately() -> tuple[Behind, ...]:
    """The same, at most KEPT_S old in this process. See Note [What the guard asks, and how often]."""
    kept = _kept.get(os.getpid())
    if kept is None or time.monotonic() > kept[0] + KEPT_S:
        kept = _kept[os.getpid()] = (time.monotonic(), behind())
    return kept[1]


def look_again() -> None:
    """Whatever this process knows is forgotten: after a replay, and in tests."""
    _kept.clear()


_kept: dict[int, tuple[float, tuple[Behind, ...]]] = {}


def _expected() -> dict[Place, list[Tombstone]]:
    """By database, the certified erasures it must know of. Before `marked_at` nobody can expect it to."""
    found: defaultdict[Place, list[Tombstone]] = defaultdict(list)
    with keyring_errors():
        for stone in Tombstone.objects.filter(marked_at__isnull=False).order_by("certified"):
            for place in stone.places:
                found[place].append(stone)
    return dict(found)


def _forgotten() -> list[Tombstone]:
    """Erasures that passed a bar the control database does not remember: it is from before that."""
    mark = LedgerMark.objects.first() or LedgerMark()
    with keyring_errors():
        open_ones = Tombstone.objects.filter(seq__gt=mark.bar, voids=None, voided_by=None, marked_at=None)
        return list(open_ones.filter(at__lt=timezone.now() - CROSSING).order_by("seq"))


def _mark(place: Place) -> int | None:
    """None: it does not answer, or is no longer ours."""
    if place == CONTROL:
        mark = LedgerMark.objects.first()
        return 0 if mark is None else mark.certified
    name, database = place.split("/", 1)
    cluster = Cluster.objects.filter(name=name).first()
    if cluster is None:
        return None
    try:
        return mark_of(cluster, database)
    except (ServerUnavailable, ServerRefused):
        return None
