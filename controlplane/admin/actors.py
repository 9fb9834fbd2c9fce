"""Who did it, by name: rows keep `user:5` or `api_key:key_…`, and people want to know whom to ask."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import CharField, OuterRef, QuerySet, Subquery, Value
from django.db.models.functions import Cast, Coalesce, Concat, Replace
from django.utils.html import format_html
from django.utils.safestring import SafeString

from controlplane.models import ApiKey


def with_actor_names(rows: QuerySet[Any], *fields: str) -> QuerySet[Any]:
    """Annotate `actor_name` for rows with an `actor`: a user's or a key's name, None when it is gone or a program.

    `fields` are others that hold an actor; each gets a `…_name` beside it, instead of `actor`.
    """
    names = {f"{field}_name": _name_of(field) for field in fields or ("actor",)}
    named: QuerySet[Any] = rows.annotate(**names)
    return named


def _name_of(field: str) -> Coalesce:
    users = get_user_model().objects.annotate(ref=Concat(Value("user:"), Cast("pk", CharField())))
    bare = Replace(Cast("pk", CharField()), Value("-"), Value(""))
    keys = ApiKey.objects.annotate(ref=Concat(Value("api_key:key_"), bare))
    return Coalesce(
        Subquery(users.filter(ref=OuterRef(field)).values("username")[:1]),
        Subquery(keys.filter(ref=OuterRef(field)).values("name")[:1]),
        output_field=CharField(),
    )


def actor(row: Any, field: str = "actor") -> SafeString:
    """The name, and the id that the row keeps."""
    name = getattr(row, f"{field}_name")
    return format_html('<bdi>{}</bdi> <code class="tn-faint">{}</code>', name or "", getattr(row, field))
