"""What models say of columns that the catalog shows as bytes or text: that they are sealed, or name a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.apps import apps
from django.db import models

from tenants.errors import TenureError
from tenants.isolation import envelope
from tenants.isolation.fields import EncryptedField

Sealed = Mapping[str, Mapping[str, EncryptedField]]
"""Table → column → the field that opens it."""


def sealed_columns() -> Sealed:
    """Of the installed apps: columns whose values the database cannot read."""
    found: dict[str, dict[str, EncryptedField]] = {}
    for model in apps.get_models(include_auto_created=True):
        for each in model._meta.local_fields:  # noqa: SLF001
            if isinstance(each, EncryptedField):
                found.setdefault(model._meta.db_table, {})[str(each.column)] = each  # noqa: SLF001
    return found


def file_columns() -> dict[str, tuple[str, ...]]:
    """Of the installed apps: columns that hold names of files, by table."""
    found: dict[str, list[str]] = {}
    for model in apps.get_models(include_auto_created=True):
        for each in model._meta.local_fields:  # noqa: SLF001
            if isinstance(each, models.FileField):
                found.setdefault(model._meta.db_table, []).append(str(each.column))  # noqa: SLF001
    return {table: tuple(columns) for table, columns in found.items()}


def opened_value(field_: EncryptedField, key: UUID, value: bytes) -> Any:
    """A sealed value, in the open scope. Raises TenureError where it does not open."""
    return field_.loads(envelope.decrypt(bytes(value), field_.cell(key)).decode())


def opened_text(field_: EncryptedField, key: UUID, value: bytes) -> str | None:
    """The lower-case text of a sealed value, in the open scope; None where it does not open."""
    try:
        opened = opened_value(field_, key, value)
    except TenureError:  # key destroyed or disabled, or the value was tampered with
        return None
    return (opened if isinstance(opened, str) else json.dumps(opened, ensure_ascii=False)).lower()


def written(value: Any) -> str | None:
    """As PostgreSQL writes it, and reads it into whatever the column is."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, (bool, int, float, dict, list)) else str(value)
