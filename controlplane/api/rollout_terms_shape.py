"""The terms of a rollout, as answers show them: what was sent, and nothing filled in."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from controlplane.api.fields import Labels
from controlplane.api.rollout_request import ByClass


def words() -> serializers.ListField:
    return serializers.ListField(child=serializers.CharField(), required=False)


class SelectionShape(serializers.Serializer[Any]):
    """Which part of the fleet."""

    tier = words()
    region = words()
    cluster = words()
    plan = words()
    slugs = words()
    labels = Labels(required=False)


class WaveSizeShape(serializers.Serializer[Any]):
    """One of the two."""

    count = serializers.IntegerField(required=False)
    percent = serializers.FloatField(required=False)


class MaxFailuresShape(serializers.Serializer[Any]):
    """How many may fail."""

    count = serializers.IntegerField(required=False)
    percent = serializers.FloatField(required=False)
    classes = ByClass(required=False)


class WindowShape(serializers.Serializer[Any]):
    """Each week, in UTC."""

    days = serializers.ListField(child=serializers.CharField())

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        return {**super().get_fields(), "from": serializers.CharField(), "to": serializers.CharField()}
