"""A pooled tenant's connection, asked past the ORM."""

from typing import Any

from django.db import connections, transaction

from tenants.context import TenantContext
from tenants.isolation.connections import alias_of
from tenants.isolation.db.pooled.base import DatabaseWrapper


def wrapper(context: TenantContext) -> DatabaseWrapper:
    found = connections[alias_of(context)]
    assert isinstance(found, DatabaseWrapper)
    return found


def asked(context: TenantContext, text: str, parameters: Any = None) -> list[tuple[Any, ...]]:
    with wrapper(context).cursor() as cursor:
        cursor.execute(text, parameters)
        return list(cursor.fetchall())


def atomic(context: TenantContext, **options: Any) -> Any:
    return transaction.atomic(using=alias_of(context), **options)
