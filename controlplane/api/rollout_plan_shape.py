"""The plan of a rollout, as a draft shows it, an approval binds it, and `validate_only` answers it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rest_framework import serializers

from controlplane.api.bodies import Json
from controlplane.api.catalog import PoolRefusalShape
from controlplane.api.fields import Constant


class PlannedWaveShape(serializers.Serializer[Any]):
    wave = serializers.IntegerField(min_value=0, help_text="0 is the canaries.")
    targets = serializers.DictField(child=serializers.IntegerField(), help_text="How many of each tier.")


class PlannedLockShape(serializers.Serializer[Any]):
    """What a statement does to a table that is there already, for whoever works in it meanwhile."""

    table = serializers.CharField(allow_blank=True)
    lock = serializers.CharField(help_text="PostgreSQL's name of the mode, such as ACCESS EXCLUSIVE.")
    rewrites = serializers.BooleanField(help_text="It writes the whole table anew.")
    scans = serializers.BooleanField(help_text="It reads the whole table.")
    why = serializers.CharField(allow_blank=True)


class PlannedMigrationShape(serializers.Serializer[Any]):
    """What one migration sends to each target."""

    migration = serializers.CharField()
    atomic = serializers.BooleanField(help_text="False: it is done step by step, and a death leaves it half done.")
    statements = serializers.ListField(child=serializers.CharField())
    data = serializers.ListField(  # type: ignore[assignment]  # a field of the body, not of the class
        child=serializers.CharField(), help_text="Operations on rows, once for each tenant."
    )
    locks = PlannedLockShape(many=True)


class PlannedPathShape(serializers.Serializer[Any]):
    """How those that are on one release get there."""

    source = serializers.CharField(  # type: ignore[assignment]  # a field of the body, not of the class
        help_text="The release they are on.", allow_blank=True
    )
    pooled = serializers.BooleanField(help_text="Whether these are the migrations as pools see them.")
    targets = serializers.IntegerField(min_value=0)
    migrations = PlannedMigrationShape(many=True)
    refusals = PoolRefusalShape(many=True, help_text="While there is one, an approval is refused.")


class LeftOutShape(serializers.Serializer[Any]):
    name = serializers.CharField()
    cause = serializers.CharField()


class RolloutPlanShape(serializers.Serializer[Any]):
    """What a rollout would do to the fleet as it is."""

    object = Constant("rollout_plan")
    release = serializers.CharField()
    targets = serializers.IntegerField(min_value=0)
    there = serializers.IntegerField(min_value=0, help_text="Targets that are on the release already.")
    waves = PlannedWaveShape(many=True)
    paths = PlannedPathShape(many=True)
    left_out = LeftOutShape(many=True, help_text="The first 200, each with the cause.")
    left_out_count = serializers.IntegerField(min_value=0)
    older = serializers.ListField(
        child=serializers.CharField(),
        help_text="Who still runs what this release takes away. While there is somebody, an approval is refused.",
    )
    estimate_s = serializers.ListField(
        child=serializers.FloatField(), allow_null=True, help_text="A range, from a rehearsal; null without one."
    )
    digest = serializers.CharField(help_text="An approval names it, as `plan_digest`.")


def rollout_plan(kept: Mapping[str, Any]) -> Json:
    """The JSON of a plan, which comes as a rollout keeps it: `Rollout.plan`, or `RolloutPlan.row()`."""
    return dict(RolloutPlanShape(plan_values(kept)).data)


def plan_values(kept: Mapping[str, Any]) -> Json:
    """What RolloutPlanShape shows."""
    waves = [{"wave": wave["number"], "targets": wave["targets"]} for wave in kept["waves"]]
    return {**kept, "object": "rollout_plan", "waves": waves}
