"""Secrets, handed out once: how a tenant's application reaches its database and its bucket."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from controlplane.api.bodies import Json


class ContextKeyShape(serializers.Serializer[Any]):
    """Signs this tenant's tickets into its pool, one for each transaction."""

    version = serializers.CharField()
    key = serializers.CharField(help_text="32 bytes, base64url.")


class DatabaseCredentialsShape(serializers.Serializer[Any]):
    host = serializers.CharField()
    port = serializers.IntegerField()
    name = serializers.CharField(help_text="The database.")
    user = serializers.CharField(help_text="The tenant's own role, or the one that its pool shares.")
    schema = serializers.CharField(help_text="The role's search path is this already.")
    password = serializers.CharField()
    context_key = serializers.SerializerMethodField(
        help_text="Null outside of pools. In a pool no row is seen before a transaction has entered with a ticket."
    )
    url = serializers.CharField(help_text="All of it, as libpq's connection string.")

    @extend_schema_field(ContextKeyShape(allow_null=True))
    def get_context_key(self, database: Any) -> Json | None:
        return database.context_key.as_json() if database.context_key else None


class StorageCredentialsShape(serializers.Serializer[Any]):
    """S3 credentials that reach this tenant's bucket alone, or its prefix of the pool's bucket."""

    endpoint_url = serializers.CharField(allow_null=True, help_text="Null on AWS.")
    region = serializers.CharField()
    bucket = serializers.CharField()
    prefix = serializers.CharField(
        allow_blank=True, help_text="Every key begins with it: `t_<hex>/` in a pool, else empty."
    )
    access_key_id = serializers.CharField()
    secret_access_key = serializers.CharField()
    session_token = serializers.CharField()
    expires_at = serializers.DateTimeField()


class CredentialsShape(serializers.Serializer[Any]):
    """What a tenant's application needs to reach its data."""

    database = DatabaseCredentialsShape()
    storage = StorageCredentialsShape()
