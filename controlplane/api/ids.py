"""Ids as the API writes them: a prefix and the 32 hex digits that are also in the names of what the tenant owns."""

from __future__ import annotations

import re
from typing import TypeVar
from uuid import UUID

from django.db.models import Model, QuerySet

from controlplane.api.codes import Code
from controlplane.api.errors import Problem

NOUNS = {
    "ten": "tenant",
    "op": "operation",
    "rel": "release",
    "key": "API key",
    "rol": "rollout",
    "sch": "schedule",
    "hld": "legal hold",
    "ers": "erasure request",
    "reh": "rehearsal",
}
ID = re.compile(r"([a-z]{2,3})_([0-9a-f]{32})")

M = TypeVar("M", bound=Model)


def uuid_of(prefix: str, text: str) -> UUID | None:
    """The UUID of a public id, or None: a wrong prefix names nothing, whatever the digits are."""
    match = ID.fullmatch(text)
    return UUID(match[2]) if match and match[1] == prefix else None


def found(rows: QuerySet[M], prefix: str, text: str) -> M:
    """The row with this public id. Raises Problem NOT_FOUND."""
    identity = uuid_of(prefix, text)
    row = rows.filter(pk=identity).first() if identity else None
    if row is None:
        raise Problem(Code.NOT_FOUND, f"There is no {NOUNS[prefix]} {text[:60]!r}.")
    return row
