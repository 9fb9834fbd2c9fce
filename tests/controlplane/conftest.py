"""What doors of rollouts are tried with: small schemas made by hand, a release that follows, a replayer of plain SQL."""

from tests.provisioning.rollout.conftest import release, replayer

__all__ = ["release", "replayer"]
