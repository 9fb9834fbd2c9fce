"""A model with encrypted fields, and its table in acme's and globex's places: a customer's application in miniature."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar
from uuid import uuid4

import psycopg
from django.db import models
from psycopg import sql

from controlplane.stack.embedded import Stack
from provisioning.databases.pooling import compiled
from tenants.context import TenantContext
from tenants.isolation.blind_index import BlindIndexField
from tenants.isolation.fields import EncryptedJSONField, EncryptedTextField
from tests.pair import Pair

TABLE = """
CREATE TABLE {schema}.vault_entry (
    id uuid PRIMARY KEY, title varchar(80) UNIQUE, note bytea, second_note bytea, facts bytea, note_index bytea)
"""


class Entry(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    title = models.CharField(max_length=80, unique=True)
    note = EncryptedTextField(null=True, blank=True)
    second_note = EncryptedTextField(null=True, blank=True)
    facts = EncryptedJSONField(null=True, blank=True)
    note_index = BlindIndexField(of="note")

    objects: ClassVar[models.Manager["Entry"]] = models.Manager()

    class Meta:
        app_label = "projects"
        db_table = "vault_entry"
        managed = False
        ordering: ClassVar = ["title"]

    def __str__(self) -> str:
        return self.title


@contextmanager
def vaults(stack: Stack, pair: Pair) -> Iterator[None]:
    """The table in both tenants' places, as their own; gone afterwards."""
    contexts = (pair.acme, pair.globex)
    for context in contexts:
        _run(stack, context, TABLE, "GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.vault_entry TO {role}")
    try:
        yield
    finally:
        for context in contexts:
            _run(stack, context, "DROP TABLE {schema}.vault_entry")


@contextmanager
def pooled_vaults(stack: Stack, context: TenantContext) -> Iterator[None]:
    """The table in a pool, as the compiler makes it: shared by all of its tenants."""
    names = {"schema": sql.Identifier(context.schema), "group": sql.Identifier(f"g_{context.pool_id.hex}")}  # type: ignore[union-attr]  # of a pool
    made = compiled(TABLE.replace("{schema}.", ""))
    with psycopg.connect(stack.superuser_url, dbname=context.database) as connection:
        connection.execute(sql.SQL("SET LOCAL search_path = {schema}").format(**names))
        connection.execute(made.encode())
        connection.execute(
            sql.SQL("GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.vault_entry TO {group}").format(**names)
        )
    try:
        yield
    finally:
        _run(stack, context, "DROP TABLE {schema}.vault_entry")


def _run(stack: Stack, context: TenantContext, *statements: str) -> None:
    names = {"schema": sql.Identifier(context.schema), "role": sql.Identifier(context.key)}
    with psycopg.connect(stack.superuser_url, dbname=context.database) as connection:
        for statement in statements:
            connection.execute(sql.SQL(statement).format(**names))
