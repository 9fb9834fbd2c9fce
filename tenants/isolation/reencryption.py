"""Which data keys the rows of the open scope's tenant name, and encrypting them again under the active one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from uuid import UUID

from django.apps import apps
from django.db import connections, transaction
from django.db.models import Model
from psycopg import sql

from tenants.context import current
from tenants.isolation import envelope, keys
from tenants.isolation.connections import alias_of
from tenants.isolation.fields import EncryptedField
from tenants.isolation.routing import is_tenant_app

BATCH = 500  # rows locked at a time: some 20 ms of a neighbour's patience


def named_keys() -> Counter[UUID]:
    """How many encrypted values name each key, counted now over every encrypted column of the tenant's application.

    A value without our form counts under the zero UUID. The counting runs as the tenant's own role.
    """
    found: Counter[UUID] = Counter()
    with transaction.atomic(using=alias_of(current())), connections[alias_of(current())].cursor() as cursor:
        for field in encrypted_fields():
            cursor.execute(
                sql.SQL(
                    "SELECT CASE WHEN substr({column}, 1, 1) = %s THEN substr({column}, 2, 16) END, count(*)"
                    " FROM {table} WHERE {column} IS NOT NULL GROUP BY 1"
                ).format(**_names(field)),
                [envelope.FORM],
            )
            for key_id, count in cursor.fetchall():
                found[UUID(bytes=bytes(key_id)) if key_id is not None else UUID(int=0)] += count
    return found


def reencrypt(*, batch: int = BATCH) -> Iterator[int]:
    """Encrypt again whatever is not under the active key, `batch` values at a time; yields how many went each time.

    Each batch is a transaction that locks its rows, so a write of the application's waits or is seen: none is lost. It
    may be left at any point and begun again. Raises what `envelope.decrypt` raises at a value that does not open.
    """
    for field in encrypted_fields():
        while done := _one_batch(field, batch):
            yield done


def encrypted_fields() -> Iterator[EncryptedField]:
    """Of all concrete models of the tenant application, each column once."""
    for model in apps.get_models():
        meta = model._meta  # noqa: SLF001
        if not is_tenant_app(meta.app_label) or meta.proxy:
            continue
        for field in meta.local_concrete_fields:
            if isinstance(field, EncryptedField):
                yield field


def _one_batch(field: EncryptedField, batch: int) -> int:
    alias = alias_of(current())
    active = keys.of(current()).active.id.bytes
    with transaction.atomic(using=alias), connections[alias].cursor() as cursor:
        cursor.execute(
            sql.SQL(
                "SELECT {key}, {column} FROM {table} WHERE {column} IS NOT NULL AND substr({column}, 2, 16) <> %s"
                " ORDER BY {key} LIMIT %s FOR UPDATE"
            ).format(**_names(field)),
            [active, batch],
        )
        rows = cursor.fetchall()
        again = [(_again(field, row, bytes(value)), row) for row, value in rows]
        cursor.executemany(sql.SQL("UPDATE {table} SET {column} = %s WHERE {key} = %s").format(**_names(field)), again)
    return len(rows)


def _again(field: EncryptedField, row: UUID, value: bytes) -> bytes:
    cell = field.cell(row)
    return envelope.encrypt(envelope.decrypt(value, cell), cell)


def _names(field: EncryptedField) -> dict[str, sql.Identifier]:
    model: type[Model] = field.model
    return {
        "table": sql.Identifier(model._meta.db_table),  # noqa: SLF001
        "column": sql.Identifier(str(field.column)),
        "key": sql.Identifier(str(field.key.column)),
    }
