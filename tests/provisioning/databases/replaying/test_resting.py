"""Between two rollouts a lane keeps its session, and takes another where that one is gone or too old."""

import pytest

from provisioning.databases.replaying import Lane, Target, lanes
from provisioning.databases.servers import Connection, run
from tenants.models import Cluster
from tenants.states import Tier

END = "SELECT pg_terminate_backend(%s, 5000)"


def test_a_lane_that_rested_has_its_session_or_a_new_one(
    house: None, superuser: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster.objects.get()
    target = Target(Tier.SCHEMA, cluster.name, cluster.database, "t_" + "a" * 32)
    with Lane() as lane:
        first = session_of(lane, target)
        lane.rest()
        assert session_of(lane, target) == first
        run(superuser, END, first)
        lane.rest()
        second = session_of(lane, target)
        assert second != first
        monkeypatch.setattr(lanes, "KEPT_S", 0.0)
        lane.rest()
        assert session_of(lane, target) != second


def session_of(lane: Lane, target: Target) -> int:
    return lane.connection(target).info.backend_pid
