"""Reach every server that the environment names. Imported only where it names one: the clients take half a second."""

import http.client
from collections.abc import Mapping
from urllib.parse import urlsplit

import boto3
import botocore.exceptions
import kombu
import psycopg
import redis
from botocore.config import Config

from controlplane.stack.errors import StackError
from controlplane.stack.variables import DATABASE_OWNERS, DATABASES, Choice

TIMEOUT_S = 5


def check_servers(choice: Choice, environment: Mapping[str, str]) -> None:
    """Reach every server that was named. Raises StackError naming the variable; passwords stay out of the message."""
    if "postgres" not in choice.servers:
        for name in (*DATABASES, *DATABASE_OWNERS):
            if url := environment.get(name):
                _reach_database(name, url)
    for name in ("BROKER_URL", "CACHE_URL"):
        if choice.given.get(name):
            _reach_broker(name, environment[name])
    if "object-store" not in choice.servers:
        _reach_object_store(environment)


def _reach_database(name: str, url: str) -> None:
    try:
        psycopg.connect(url, connect_timeout=TIMEOUT_S).close()
    except psycopg.Error as error:
        raise StackError(f"{name} leads to no usable database: {error}") from error


def _reach_broker(name: str, url: str) -> None:
    parts = urlsplit(url)
    try:
        if parts.scheme.startswith("redis"):
            redis.Redis.from_url(url, socket_connect_timeout=TIMEOUT_S, socket_timeout=TIMEOUT_S).ping()
        else:
            with kombu.Connection(url, connect_timeout=TIMEOUT_S) as connection:
                connection.connect()
    except (redis.RedisError, OSError) as error:
        raise StackError(f"{name} is not answered by {parts.hostname}: {error}") from error


def _reach_object_store(environment: Mapping[str, str]) -> None:
    session = boto3.session.Session(
        aws_access_key_id=environment.get("AWS_ACCESS_KEY_ID"),
        aws_secret_access_key=environment.get("AWS_SECRET_ACCESS_KEY"),
        aws_session_token=environment.get("AWS_SESSION_TOKEN"),
        region_name=environment.get("AWS_DEFAULT_REGION", "us-east-1"),
    )
    config = Config(connect_timeout=TIMEOUT_S, read_timeout=TIMEOUT_S, retries={"total_max_attempts": 1})
    try:
        session.client("s3", endpoint_url=environment.get("S3_ENDPOINT_URL") or None, config=config).list_buckets()
    except botocore.exceptions.ClientError as error:
        refusal = error.response["Error"].get("Code", "refused")
        raise StackError(
            f"The object store refuses AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: {refusal}. Set them to its own."
        ) from error
    except (botocore.exceptions.BotoCoreError, http.client.HTTPException) as error:
        raise StackError(f"S3_ENDPOINT_URL leads to no object store that answers: {error}") from error
