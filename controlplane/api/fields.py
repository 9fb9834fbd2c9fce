"""Fields that take JSON at its word: a number is no text, "true" is no boolean, and a constant is a constant."""

from __future__ import annotations

from typing import Any

from drf_spectacular.drainage import set_override
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from controlplane.api.ids import uuid_of
from tenants import slugs
from tenants.placement import public_id

MOST_LABELS, LONGEST_LABEL = 32, 63


class Text(serializers.CharField):
    """Text, kept as it was sent. Django REST framework's own field would take 5 for "5" and trim the ends."""

    def __init__(self, **options: Any) -> None:
        super().__init__(trim_whitespace=False, **options)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class Slug(Text):
    """A slug as the document describes it. What is wrong with one is said by the verb, in the same words everywhere."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=300, **options)
        set_override(self, "field", {"type": "string", "pattern": f"^{slugs.SLUG.pattern}$", "examples": ["acme"]})


class Whole(serializers.IntegerField):
    """A JSON number without a fraction; "5" and true are none."""

    def to_internal_value(self, data: Any) -> int:
        if not isinstance(data, int) or isinstance(data, bool):
            self.fail("invalid")
        return int(data)


class Number(serializers.FloatField):
    """A JSON number; "5" and true are none."""

    def to_internal_value(self, data: Any) -> float:
        if not isinstance(data, int | float) or isinstance(data, bool):
            self.fail("invalid")
        return data  # 10 stays 10: what is kept is what was sent


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
        "propertyNames": {"minLength": 1, "maxLength": LONGEST_LABEL},
        "additionalProperties": {"type": "string", "minLength": 1, "maxLength": LONGEST_LABEL},
        "examples": [{"team": "north"}],
    }
)
class Labels(serializers.DictField):
    """Words of the caller's own: at most 32, names and texts of 1 to 63 characters."""

    child = Text(max_length=LONGEST_LABEL)
    default_error_messages = {
        "too_many": f"At most {MOST_LABELS} labels.",
        "bad_name": "A label's name has 1 to 63 characters.",
    }

    def to_internal_value(self, data: Any) -> dict[Any, Any]:
        labels: dict[Any, Any] = super().to_internal_value(data)
        if len(labels) > MOST_LABELS:
            self.fail("too_many")
        if any(not 1 <= len(name) <= LONGEST_LABEL for name in labels):
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


class IdOf(serializers.CharField):
    """A public id that came in, as its UUID."""

    default_error_messages = {"not_an_id": "An id is a prefix and 32 hex digits, as an answer had it."}

    def __init__(self, prefix: str, **options: Any) -> None:
        super().__init__(**options)
        self.prefix = prefix
        set_override(self, "field", id_schema(prefix))

    def to_internal_value(self, data: Any) -> Any:
        if (identity := uuid_of(self.prefix, super().to_internal_value(data))) is None:
            self.fail("not_an_id")
        return identity


def id_schema(prefix: str) -> dict[str, Any]:
    """The OpenAPI form of an id."""
    return {"type": "string", "pattern": f"^{prefix}_[0-9a-f]{{32}}$"}
