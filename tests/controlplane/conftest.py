"""What doors of rollouts are tried with: a release that follows the current one, and a replayer of plain SQL."""

from tests.provisioning.rollout.conftest import release, replayer

__all__ = ["release", "replayer"]
