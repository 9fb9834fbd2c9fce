"""Secrets, handed out once: how a tenant's application reaches its database and its bucket."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers


class DatabaseCredentialsShape(serializers.Serializer[Any]):
    host = serializers.CharField()
    port = serializers.IntegerField()
    name = serializers.CharField(help_text="The database.")
    user = serializers.CharField()
    schema = serializers.CharField(help_text="The role's search path is this already.")
    password = serializers.CharField()
    url = serializers.CharField(help_text="All of it, as libpq's connection string.")


class StorageCredentialsShape(serializers.Serializer[Any]):
    """S3 credentials that reach this tenant's bucket alone."""

    endpoint_url = serializers.CharField(allow_null=True, help_text="Null on AWS.")
    region = serializers.CharField()
    bucket = serializers.CharField()
    access_key_id = serializers.CharField()
    secret_access_key = serializers.CharField()
    session_token = serializers.CharField()
    expires_at = serializers.DateTimeField()


class CredentialsShape(serializers.Serializer[Any]):
    """What a tenant's application needs to reach its data."""

    database = DatabaseCredentialsShape()
    storage = StorageCredentialsShape()
