"""Reading a request: JSON without surprises, and shapes that refuse what they do not know."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from django.http.request import MediaType
from rest_framework import serializers
from rest_framework.request import Request

from controlplane.api.codes import Code
from controlplane.api.errors import Problem, flat, invalid

MOST_BYTES = 64 * 1024
DEEPEST = 16  # objects and lists within each other

Json = dict[str, Any]


class Shape(serializers.Serializer[Any]):
    """What a body or a query may hold. A name that is not in it is an error: it was meant to say something."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, dict):  # a shape within another one: super() says that it wants an object
            return super().to_internal_value(data)
        unknown = {name: [_unknown()] for name in sorted(set(data) - set(self.fields))}
        try:
            value = super().to_internal_value(data)
        except serializers.ValidationError as error:
            known = error.detail if isinstance(error.detail, dict) else {}
            raise serializers.ValidationError({**known, **unknown}) from error
        if unknown:
            raise serializers.ValidationError(unknown)
        return value


class NoBodyRequest(Shape):
    """Nothing: an empty object, or no body at all."""


def _unknown() -> serializers.ErrorDetail:
    return serializers.ErrorDetail("There is no such field.", code="unknown")


def body_of(request: Request) -> Json:
    """The JSON object of the body; empty when there is none.

    Raises Problem: REQUEST_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, MALFORMED_REQUEST, or VALIDATION_FAILED when the JSON is
    no object.
    """
    if not _length(request):
        return {}
    media = MediaType(request.META.get("CONTENT_TYPE") or "")
    if (media.main_type, media.sub_type) != ("application", "json"):
        raise Problem(Code.UNSUPPORTED_MEDIA_TYPE)
    if media.params.get("charset", "utf-8").lower() not in {"utf-8", "utf8"}:
        raise Problem(Code.UNSUPPORTED_MEDIA_TYPE, "JSON is UTF-8 (RFC 8259 §8.1).")
    try:
        read = json.loads(
            request.body.decode(), object_pairs_hook=_without_twins, parse_constant=_no_number, parse_float=_finite
        )
    except (ValueError, RecursionError) as error:  # bad UTF-8, bad JSON, a number of thousands of digits, deep nesting
        raise Problem(Code.MALFORMED_REQUEST, "The body is not JSON that can be read.") from error
    _check_text(read)
    if not isinstance(read, dict):
        raise invalid("body", "NOT_AN_OBJECT", "The body must be a JSON object.")
    return read


def shaped(request: Request, shape: type[Shape]) -> dict[str, Any]:
    """The body as `shape` reads it. Raises Problem VALIDATION_FAILED, naming every field that is wrong."""
    asked = shape(data=body_of(request))
    asked.is_valid(raise_exception=True)
    return dict(asked.validated_data)


def queried(request: Request, shape: type[Shape]) -> dict[str, Any]:
    """The query parameters as `shape` reads them; repeated ones where it has a list, which means "or".

    Raises Problem UNKNOWN_PARAMETER, or MALFORMED_REQUEST for a known one that makes no sense.
    """
    fields = shape().fields
    given = dict(request.query_params.lists())
    if unknown := sorted(set(given) - set(fields)):
        raise Problem(
            Code.UNKNOWN_PARAMETER,
            f"There is no parameter {', '.join(unknown)[:200]}.",
            metadata={"known": sorted(fields)},
        )
    lists = {name for name, field in fields.items() if isinstance(field, serializers.ListField)}
    if twice := sorted(name for name, values in given.items() if len(values) > 1 and name not in lists):
        raise Problem(Code.MALFORMED_REQUEST, f"Given more than once: {', '.join(twice)}.")
    asked = shape(data={name: values if name in lists else values[0] for name, values in given.items()})
    if not asked.is_valid():
        errors = list(flat(serializers.ValidationError(asked.errors).get_full_details()))
        wrong = ", ".join(sorted({error["field"] for error in errors}))
        raise Problem(Code.MALFORMED_REQUEST, f"Not as it should be: {wrong}.", errors=errors)
    return dict(asked.validated_data)


def _length(request: Request) -> int:
    if "chunked" in request.META.get("HTTP_TRANSFER_ENCODING", "").lower():
        # WSGI hides such a body from Django: refusing it beats answering as if it had been empty.
        raise Problem(Code.MALFORMED_REQUEST, "Send the body with a Content-Length.")
    try:
        length = int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError as error:
        raise Problem(Code.MALFORMED_REQUEST, "Content-Length is not a number.") from error
    if length > MOST_BYTES:
        raise Problem(Code.REQUEST_TOO_LARGE, metadata={"most_bytes": MOST_BYTES})
    return length


def _without_twins(pairs: list[tuple[str, Any]]) -> Json:
    read = dict(pairs)
    if len(read) != len(pairs):
        raise ValueError("a name occurs twice in one object")
    return read


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError("a number beyond all bounds")
    return number


def _check_text(read: Any) -> None:
    """Refuse what PostgreSQL cannot keep (NUL), what UTF-8 cannot write (half a surrogate pair), and deep nesting."""
    level = [read]
    for _depth in range(DEEPEST):
        texts = [item for item in level if isinstance(item, str)]
        texts += [name for item in level if isinstance(item, dict) for name in item]
        if any("\0" in text or any("\ud800" <= char <= "\udfff" for char in text) for text in texts):
            raise Problem(Code.MALFORMED_REQUEST, "Text cannot hold NUL characters or unpaired surrogates.")
        level = [
            inner
            for item in level
            if isinstance(item, dict | list)
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return
    raise Problem(Code.MALFORMED_REQUEST, f"Objects and lists are nested more than {DEEPEST} deep.")
