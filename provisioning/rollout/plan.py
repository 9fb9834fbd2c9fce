"""What a rollout would do, shown before it does it: the very words that a person approves and a digest binds."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from provisioning.databases.releases import TEXTS
from provisioning.models import Release, ReleasePath
from provisioning.rollout import seams
from provisioning.rollout.errors import NoPath
from provisioning.rollout.path_plan import LockPlan, MigrationPlan, PathPlan, Refusal, no_path, path_plan
from provisioning.rollout.selection import Chosen, Fleet, LeftOut
from provisioning.rollout.waves import numbers
from tenants.errors import TenureError
from tenants.states import Tier

__all__ = ["Frozen", "LockPlan", "MigrationPlan", "PathPlan", "Refusal", "RolloutPlan", "WavePlan", "plan"]

SHOWN = 200  # names that a plan lists; all are counted


@dataclass(frozen=True, slots=True)
class WavePlan:
    """How many targets one wave has in each tier. Wave 0 is the canaries."""

    number: int
    targets: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class RolloutPlan:
    """The whole of it. `estimate_s` is a range from a rehearsal, in seconds, where there was one."""

    release: str
    targets: int
    there: int
    waves: tuple[WavePlan, ...]
    paths: tuple[PathPlan, ...]
    left_out: tuple[LeftOut, ...]
    left_out_count: int
    older: tuple[str, ...]
    target_digest: str
    terms: Mapping[str, Any]
    estimate_s: tuple[float, float] | None = None

    @property
    def digest(self) -> str:
        """`sha256:` and the hash of all but the estimate: terms, statements, and each target with its wave."""
        text = json.dumps(asdict(replace(self, estimate_s=None)), sort_keys=True, separators=(",", ":"))
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        return tuple(refusal for path in self.paths for refusal in path.refusals)

    @property
    def sources(self) -> tuple[str, ...]:
        """The releases from which an approval lets targets come."""
        return tuple(sorted({path.source for path in self.paths}))

    def row(self) -> dict[str, Any]:
        """As a rollout keeps it: JSON, with `digest` and `sources`."""
        return {**asdict(self), "digest": self.digest, "sources": list(self.sources)}


@dataclass(frozen=True, slots=True)
class Frozen:
    """A plan together with what it was made of."""

    plan: RolloutPlan
    targets: tuple[tuple[Chosen, int], ...]
    paths: Mapping[str, ReleasePath]


def plan(
    release: Release,
    fleet: Fleet,
    *,
    waves: Iterable[Mapping[str, Any]],
    terms: Mapping[str, Any],
    older: Iterable[str],
) -> Frozen:
    """The plan for a fleet. Records the paths that are missing. `older` is who runs what this release takes away."""
    canaries = sum(target.canary for target in fleet.targets)
    turns = tuple(
        zip(fleet.targets, numbers(len(fleet.targets), canary=canaries, waves=[*waves]), strict=True),
    )
    groups: dict[tuple[str, bool], Counter[str]] = {}
    for target in fleet.targets:
        groups.setdefault((target.release, target.tier == Tier.POOL), Counter())[str(target.tier)] += 1
    paths: dict[str, ReleasePath] = {}
    shown = []
    for (source, pooled), tiers in sorted(groups.items()):
        try:
            paths[source] = paths.get(source) or seams.path_between(_release(source), release)
            shown.append(path_plan(paths[source], source, pooled=pooled, tiers=tiers))
        except TenureError as error:
            refusal = Refusal("", f"{source or 'No release'}: {error}", error.cure)
            shown.append(no_path(source, refusal, pooled=pooled, tiers=tiers))
    return Frozen(
        RolloutPlan(
            release=release.name,
            targets=len(turns),
            there=fleet.there,
            waves=_wave_plans(turns),
            paths=tuple(shown),
            left_out=tuple(fleet.left_out[:SHOWN]),
            left_out_count=len(fleet.left_out),
            older=tuple(older),
            target_digest=_target_digest(turns),
            terms=dict(terms),
        ),
        turns,
        paths,
    )


def _release(name: str) -> Release:
    found = Release.objects.filter(name=name, state=Release.State.PUBLISHED).defer(*TEXTS).first()
    if found is None:
        raise NoPath(f"There is no published release {name!r}.")
    return found


def _wave_plans(turns: Iterable[tuple[Chosen, int]]) -> tuple[WavePlan, ...]:
    counted: dict[int, Counter[str]] = {}
    for target, wave in turns:
        counted.setdefault(wave, Counter())[str(target.tier)] += 1
    return tuple(WavePlan(wave, dict(sorted(tiers.items()))) for wave, tiers in sorted(counted.items()))


def _target_digest(turns: Iterable[tuple[Chosen, int]]) -> str:
    """Which target, from which release, in which wave: an approval binds each of them."""
    hashed = hashlib.sha256()
    for target, wave in turns:
        hashed.update(f"{target.tenant_id or target.pool_id}:{target.release}:{wave}\n".encode())
    return hashed.hexdigest()
