"""Lists by cursor: newest first, in an order that no two rows share, so that no page skips or repeats one.

The cursor of Django REST framework looks at the first field of the order only and counts ties with a capped offset;
rows of one transaction tie on their time. Here the position is the pair of time and id.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from django.db.models import Model, Q, QuerySet
from drf_spectacular.utils import extend_schema_field, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request

from controlplane.api.bodies import Json, Shape
from controlplane.api.codes import Code
from controlplane.api.errors import Problem
from controlplane.api.fields import Text
from controlplane.sorted_slices import SPOT, slice_of

PAGE, LARGEST_PAGE = 50, 200
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PLACE = re.compile(r"([ab])([0-9]{1,9})")  # a17: after or before the row of this number
POSITION = re.compile(r"([ab])([0-9]{1,17})-([0-9a-f]{32})")  # a17…-0198…: after or before, microseconds, id

M = TypeVar("M", bound=Model)
T = TypeVar("T")


@extend_schema_field({"type": "string", "pattern": f"^{POSITION.pattern}$"})
class Cursor(Text):
    """A place in a list, as text."""


class ListQuery(Shape):
    """The parameters every list has."""

    cursor = Cursor(required=False, help_text="From `next` or `previous`, as it is.")
    page_size = serializers.IntegerField(
        required=False,
        default=PAGE,
        min_value=1,
        help_text=f"How many to a page: {PAGE} when left out; more than {LARGEST_PAGE} is lowered to {LARGEST_PAGE}.",
    )


@extend_schema_field({"type": "string", "pattern": f"^{PLACE.pattern}$"})
class NumberCursor(Text):
    """A place in a list whose rows are numbered."""


class NumberedListQuery(ListQuery):
    """Of a list that goes by the number of its rows, the lowest first."""

    cursor = NumberCursor(  # type: ignore[assignment]  # the same parameter, of another form
        required=False, help_text="From `next` or `previous`, as it is."
    )


@extend_schema_field({"type": "string", "pattern": f"^{SPOT.pattern}$"})
class SpotCursor(Text):
    """A place in a list that is in no table."""


class SortedListQuery(ListQuery):
    """Of a list that goes by names."""

    cursor = SpotCursor(  # type: ignore[assignment]  # the same parameter, of another form
        required=False, help_text="From `next` or `previous`, as it is."
    )


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the list: `after` (older than) or before (newer than) the row of this time and id."""

    after: bool
    at: datetime
    id: UUID

    def __str__(self) -> str:
        microseconds = (self.at - EPOCH) // timedelta(microseconds=1)
        return f"{'a' if self.after else 'b'}{microseconds}-{self.id.hex}"

    @classmethod
    def parsed(cls, text: str) -> Position:
        """Raises Problem INVALID_CURSOR."""
        if (match := POSITION.fullmatch(text)) is None:
            raise Problem(Code.INVALID_CURSOR)
        side, microseconds, digits = match.groups()
        return cls(after=side == "a", at=EPOCH + timedelta(microseconds=int(microseconds)), id=UUID(digits))


def page(
    request: Request, rows: QuerySet[M], asked: dict[str, Any], represent: Callable[[Sequence[M]], list[Any]]
) -> Json:
    """One page of `rows`, which have `created_at` and `id`: `{results, next, previous}`, the two as URLs or null."""
    position = Position.parsed(asked["cursor"]) if "cursor" in asked else None
    size = min(asked["page_size"], LARGEST_PAGE)
    found, more = _read(rows, position, size)
    backwards = position is not None and not position.after
    older = bool(found) and (more or backwards)
    newer = bool(found) and (more if backwards else position is not None)
    return {
        "results": represent(found),
        "next": _url(request, _position(found[-1], after=True)) if older else None,
        "previous": _url(request, _position(found[0], after=False)) if newer else None,
    }


def numbered_page(
    request: Request, rows: QuerySet[M], asked: dict[str, Any], represent: Callable[[Sequence[M]], list[Any]], by: str
) -> Json:
    """One page of `rows`, which no two have the number `by` in common. See `page`."""
    side, number = _place(asked["cursor"]) if "cursor" in asked else ("a", -1)
    size, backwards = min(asked["page_size"], LARGEST_PAGE), side == "b"
    rest = rows.filter(**{f"{by}__{'lt' if backwards else 'gt'}": number})
    found = list(rest.order_by(f"-{by}" if backwards else by)[: size + 1])
    more, found = len(found) > size, found[:size]
    if backwards:
        found.reverse()
    earlier = bool(found) and (more if backwards else "cursor" in asked)
    later = bool(found) and (more or backwards)
    return {
        "results": represent(found),
        "next": _url(request, f"a{getattr(found[-1], by)}") if later else None,
        "previous": _url(request, f"b{getattr(found[0], by)}") if earlier else None,
    }


def sorted_page(
    request: Request,
    found: Sequence[T],
    asked: dict[str, Any],
    represent: Callable[[Sequence[T]], list[Any]],
    by: Callable[[T], str],
) -> Json:
    """One page of what is in the order of `by`, which no two share. `represent` may leave some out."""
    try:
        here = slice_of(found, by=by, size=min(asked["page_size"], LARGEST_PAGE), cursor=asked.get("cursor"))
    except ValueError as error:
        raise Problem(Code.INVALID_CURSOR) from error
    return {
        "results": represent(here.items),
        "next": _url(request, here.next) if here.next else None,
        "previous": _url(request, here.previous) if here.previous else None,
    }


def page_of(shape: type[serializers.Serializer[Any]], name: str) -> serializers.Serializer[Any]:
    """The shape of one page, for the OpenAPI document."""
    return inline_serializer(
        f"{name}Page",
        {
            "results": shape(many=True),
            "next": serializers.URLField(allow_null=True, help_text="The next page, null on the last one."),
            "previous": serializers.URLField(allow_null=True, help_text="The page before, null on the first one."),
        },
    )


def _read(rows: QuerySet[M], position: Position | None, size: int) -> tuple[list[M], bool]:
    """At most `size` rows, newest first, and whether there are more in the direction of reading."""
    if position is None or position.after:
        ordered = rows.order_by("-created_at", "-id")
        if position:  # the first condition alone can use an index; the second cuts the ties
            older = Q(created_at__lt=position.at) | Q(id__lt=position.id)
            ordered = ordered.filter(older, created_at__lte=position.at)
        found = list(ordered[: size + 1])
        return found[:size], len(found) > size
    newer = Q(created_at__gt=position.at) | Q(id__gt=position.id)
    found = list(rows.order_by("created_at", "id").filter(newer, created_at__gte=position.at)[: size + 1])
    return found[size - 1 :: -1] if len(found) > size else found[::-1], len(found) > size


def _place(text: str) -> tuple[str, int]:
    if (match := PLACE.fullmatch(text)) is None:
        raise Problem(Code.INVALID_CURSOR)
    return match[1], int(match[2])


def _position(row: Any, *, after: bool) -> Position:
    return Position(after=after, at=row.created_at, id=row.pk)


def _url(request: Request, position: Position | str) -> str:
    query = request.query_params.copy()
    query["cursor"] = str(position)
    return request.build_absolute_uri(f"{request.path}?{query.urlencode()}")
