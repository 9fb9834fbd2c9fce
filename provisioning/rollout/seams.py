"""What a rollout asks of the databases: how to get from one release to another, and to bring a target there.

Two assignable objects. Until somebody assigns them a rollout walks only paths that are recorded already.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from provisioning.models import Release, ReleasePath, RolloutTarget
from provisioning.rollout.errors import NoPath


@dataclass(frozen=True, slots=True)
class Arrived:
    """The target is on the path's end: observed, not assumed."""


@dataclass(frozen=True, slots=True)
class Unfinished:
    """Some of it is done, for good. The next call goes on at `cursor`, which the target's row keeps."""

    cursor: dict[str, Any]


Replayed: TypeAlias = Arrived | Unfinished


class Replayer(Protocol):
    """Observe, act, observe. Safe to call again after a death at any point, and beside another caller."""

    def replay(self, target: RolloutTarget, path: ReleasePath) -> Replayed:
        """Bring one target along a path; one that is there already has arrived. On failure it is as it was.

        `target` comes with its rollout (`lock_timeout_ms`), cluster, and tenant or pool; `lane_id` and `fence` say on
        whose behalf. Raises Transient or Permanent with `budget_class`, and in `metadata` what is known of `statement`,
        `migration`, `sqlstate` and `difference`.
        """

    def difference(self, target: RolloutTarget, release: Release) -> str:
        """In a sentence or some lines, how the target differs from the release; empty when it does not. Only reads."""

    def close(self) -> None:
        """A lane has ended: leave the servers, but for a session that another rollout may want soon."""


class NoReplayer:
    """Refuses: this process was given none."""

    def replay(self, target: RolloutTarget, path: ReleasePath) -> Replayed:
        raise NoPath(f"Nobody here can take {target} along {path}.")

    def difference(self, target: RolloutTarget, release: Release) -> str:
        raise NoPath(f"Nobody here can compare {target} with {release}.")

    def close(self) -> None:
        """There is nothing to leave."""


def recorded_path(source: Release, target: Release) -> ReleasePath:
    """The path as a row that is there. Raises NoPath."""
    path = ReleasePath.objects.filter(source=source, target=target).first()
    if path is None:
        raise NoPath(f"Nobody has recorded how to get from release {source} to release {target}.")
    return path


replayer: Replayer = NoReplayer()
path_between: Callable[[Release, Release], ReleasePath] = recorded_path
