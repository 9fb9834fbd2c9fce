"""Fields that take JSON at its word: a number is no text, "true" is no boolean, and a constant is a constant."""

from __future__ import annotations

from typing import Any

from drf_spectacular.drainage import set_override
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from tenants.placement import public_id

MOST_LABELS = 32


class Text(serializers.CharField):
    """Text, kept as it was sent. Django REST framework's own field would take 5 for "5" and trim the ends."""

    def __init__(self, **options: Any) -> None:
        super().__init__(trim_whitespace=False, **options)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class Flag(serializers.BooleanField):
    """JSON's true and false."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


@extend_schema_field({"type": "boolean"})
class QueryFlag(serializers.ChoiceField):
    """`true` or `false` in a query string."""

    def __init__(self, **options: Any) -> None:
        super().__init__(choices=["true", "false"], **options)

    def to_internal_value(self, data: Any) -> Any:
        return bool(super().to_internal_value(data) == "true")


@extend_schema_field(
    {
        "type": "object",
        "maxProperties": MOST_LABELS,
        "propertyNames": {"minLength": 1, "maxLength": 63},
        "additionalProperties": {"type": "string", "maxLength": 200},
        "examples": [{"team": "north"}],
    }
)
class Labels(serializers.DictField):
    """Words of the caller's own: at most 32, names of 1 to 63 characters, texts of at most 200."""

    child = Text(max_length=200, allow_blank=True)
    default_error_messages = {
        "too_many": f"At most {MOST_LABELS} labels.",
        "bad_name": "A label's name has 1 to 63 characters.",
    }

    def to_internal_value(self, data: Any) -> dict[Any, Any]:
        labels: dict[Any, Any] = super().to_internal_value(data)
        if len(labels) > MOST_LABELS:
            self.fail("too_many")
        if any(not 1 <= len(name) <= 63 for name in labels):  # noqa: PLR2004  as the schema says
            self.fail("bad_name")
        return labels


class Constant(serializers.CharField):
    """The same word in every answer: what kind of object this is."""

    def __init__(self, word: str, **options: Any) -> None:
        super().__init__(**options)
        set_override(self, "field", {"type": "string", "const": word})


class PublicId(serializers.Field[Any, Any, str, Any]):
    """A UUID as its public id: `ten_<32 hex>`."""

    def __init__(self, prefix: str, **options: Any) -> None:
        super().__init__(read_only=True, **options)
        self.prefix = prefix
        set_override(self, "field", id_schema(prefix))

    def to_representation(self, value: Any) -> str:
        return public_id(self.prefix, value)


def id_schema(prefix: str) -> dict[str, Any]:
    """The OpenAPI form of an id."""
    return {"type": "string", "pattern": f"^{prefix}_[0-9a-f]{{32}}$"}
