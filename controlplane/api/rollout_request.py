"""What a request for a rollout may hold, and the terms that it comes to."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from controlplane.api.bodies import Shape
from controlplane.api.fields import Labels, Number, Text, Whole
from provisioning import lifecycle
from provisioning.rollout.budget import CLASSES
from provisioning.rollout.terms import LONGEST_LOCK_MS, MOST_LANES
from provisioning.rollout.waves import MOST_WAVES
from provisioning.rollout.window import DAYS
from tenants.states import Tier

MOST_SLUGS, LONGEST_SLUG, LONGEST_NAME = 1_000, 63, 48
MOST_COUNT = 10_000_000
TIME_OF_DAY = "^([01][0-9]|2[0-3]):[0-5][0-9]$"
MS = 1_000


def words(help_text: str, *, longest: int = LONGEST_NAME) -> serializers.ListField:
    child = Text(max_length=longest)
    return serializers.ListField(child=child, required=False, max_length=MOST_SLUGS, help_text=help_text)


class SelectionRequest(Shape):
    """Which part of the fleet: different fields mean "and", several values of one mean "or". Empty: all of it."""

    tier = serializers.ListField(child=serializers.ChoiceField(choices=Tier.choices), required=False, max_length=3)
    region = words("Names of regions.")
    cluster = words("Names of clusters.")
    plan = words("Names of plans.")
    slugs = words("Of single tenants. A pool is a target as a whole if one of its tenants is chosen.", longest=63)
    labels = Labels(required=False, help_text="Tenants that have all of these.")


class WaveRequest(Shape):
    """How far one wave goes: the next `count` targets, or on until `percent` of all are through. One of the two."""

    count = Whole(required=False, min_value=1, max_value=MOST_COUNT)
    percent = Number(required=False, min_value=0, max_value=100)


@extend_schema_field(
    {
        "type": "object",
        "propertyNames": {"enum": [*CLASSES]},
        "additionalProperties": {"type": "integer", "minimum": 0, "maximum": MOST_COUNT},
        "examples": [{"drift": 0}],
    }
)
class ByClass(serializers.DictField):
    """A number for some of the classes of error."""

    child = Whole(min_value=0, max_value=MOST_COUNT)
    default_error_messages = {"unknown": f"The classes are {', '.join(CLASSES)}."}

    def to_internal_value(self, data: Any) -> dict[Any, Any]:
        found: dict[Any, Any] = super().to_internal_value(data)
        if not {*found} <= {*CLASSES}:
            self.fail("unknown")
        return found


class MaxFailuresRequest(Shape):
    """How many targets may fail before the rollout pauses itself. Empty: none."""

    count = Whole(required=False, min_value=0, max_value=MOST_COUNT, help_text="In all waves together.")
    percent = Number(required=False, min_value=0, max_value=100, help_text="Of the targets of the current wave.")
    classes = ByClass(required=False, help_text="Of one class of error, in all waves together.")


class WindowRequest(Shape):
    """When it may work, each week, in UTC. One that closes before it opens lasts until the next day."""

    days = serializers.ListField(
        child=serializers.ChoiceField(choices=[*DAYS]), min_length=1, max_length=7, help_text="On which it opens."
    )

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        at = {name: serializers.RegexField(TIME_OF_DAY, trim_whitespace=False) for name in ("from", "to")}
        return {**super().get_fields(), **at}  # `from` is a word of Python's, so no attribute can be called that


@extend_schema_serializer(
    examples=[
        OpenApiExample(
            "One canary, then five, then the rest",
            value={
                "release": "2026.11.3",
                "canary": ["acme"],
                "waves": [{"count": 5}, {"percent": 10}, {"percent": 100}],
                "max_failures": {"count": 3, "percent": 2},
            },
        )
    ]
)
class RolloutRequest(Shape):
    """A rollout as asked for."""

    release = Text(max_length=LONGEST_NAME, help_text="The name of a published release; an older one leads backwards.")
    filter = SelectionRequest(required=False, help_text="Left out: the whole fleet.")
    canary = words("Slugs of the tenants that go first, as wave 0.", longest=LONGEST_SLUG)
    waves = serializers.ListField(
        child=WaveRequest(),
        required=False,
        max_length=MOST_WAVES,
        help_text='The last is {"percent": 100}. Left out: all at once.',
    )
    parallelism = Whole(
        required=False, min_value=1, max_value=MOST_LANES, help_text="How many targets of a cluster at once. 2."
    )
    max_failures = MaxFailuresRequest(required=False)
    lock_timeout_s = Number(
        required=False,
        min_value=1 / MS,
        max_value=LONGEST_LOCK_MS // MS,
        help_text="How long one statement waits for a lock. 2.",
    )
    starts_at = serializers.DateTimeField(required=False, allow_null=True, help_text="Not before this moment.")
    window = WindowRequest(required=False, allow_null=True)


def terms_of(asked: dict[str, Any]) -> lifecycle.RolloutTerms:
    """From a body that RolloutRequest has read."""
    given: dict[str, Any] = {
        name: asked[name] for name in ("canary", "waves", "parallelism", "max_failures") if name in asked
    }
    if "lock_timeout_s" in asked:
        given["lock_timeout_ms"] = max(1, round(asked["lock_timeout_s"] * MS))
    return lifecycle.RolloutTerms(
        selection={name: value for name, value in asked.get("filter", {}).items() if value},
        starts_at=asked.get("starts_at"),
        window=asked.get("window"),
        **given,
    )
