"""`/healthz`: this process lives. `/readyz`: the control plane can do its work, or what it lacks for that."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING

import boto3
import botocore.exceptions
import redis
from botocore.config import Config
from django.conf import settings
from django.core.cache import cache as shared_cache
from django.db import DatabaseError, connections
from django.db.migrations.loader import MigrationLoader
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from kombu import Connection
from kombu.exceptions import OperationalError as BrokerError

from provisioning.erasure.restored import behind_lately
from provisioning.errors import Transient
from provisioning.models import Queue, QueuePulse, Release
from tenants.isolation.routing import control_labels

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

WORKERS_LOOK_EVERY = timedelta(seconds=60)  # six times the pulse of a worker that is well
TIMEOUT_S = 2


class Missing(Exception):
    """Something that the control plane needs and has not; the message is for an operator and names no secret."""


@require_safe
@never_cache
def healthz(_request: HttpRequest) -> HttpResponse:
    """200 while the process answers. Asks no other server: restarting us would not heal one."""
    return HttpResponse("alive\n", content_type="text/plain")


@require_safe
@never_cache
def readyz(_request: HttpRequest) -> JsonResponse:
    """200 and `{"ready": true, "missing": {}}`, or 503 and what is missing, by name."""
    missing = {}
    for name, check in CHECKS.items():
        try:
            check()
        except Missing as lack:
            missing[name] = str(lack)
    response = JsonResponse({"ready": not missing, "missing": missing}, status=503 if missing else 200)
    response._has_been_logged = True  # type: ignore[attr-defined]  # noqa: SLF001  asked every few seconds: no error line each
    return response


def control_database() -> None:
    with _database_trouble("DATABASE_URL does not answer"), connections["default"].cursor() as cursor:
        cursor.execute("SELECT 1")


def migrations() -> None:
    with _database_trouble("the control database does not tell"), connections["default"].cursor() as cursor:
        cursor.execute("SELECT app, name FROM django_migrations")
        applied = set(cursor.fetchall())
    if open_ones := sorted(_written_migrations() - applied):
        names = ", ".join(f"{app}.{name}" for app, name in open_ones[:5])
        raise Missing(f"{len(open_ones)} not applied: {names}. Run `manage.py migrate --database owner`.")


def keyring() -> None:
    with _database_trouble("KEYRING_URL does not answer"), connections["keyring"].cursor() as cursor:
        cursor.execute("SELECT 1")


def broker() -> None:
    options = {"socket_connect_timeout": TIMEOUT_S, "socket_timeout": TIMEOUT_S, "max_retries": 0}
    try:
        with Connection(settings.BROKER_URL, connect_timeout=TIMEOUT_S, transport_options=options) as connection:
            connection.ensure_connection(max_retries=1, timeout=TIMEOUT_S)
    except (BrokerError, OSError) as error:
        raise Missing("BROKER_URL does not answer. Work goes on slowly: the sweeper drives it.") from error


def cache_server() -> None:
    try:
        shared_cache.get("readyz")
    except (redis.RedisError, OSError) as error:
        raise Missing("CACHE_URL does not answer.") from error


def object_store() -> None:
    try:
        _s3(settings.S3_ENDPOINT_URL).list_buckets(MaxBuckets=1)
    except botocore.exceptions.ClientError as error:
        raise Missing("The object store refuses our keys: set AWS_ACCESS_KEY_ID and its secret.") from error
    except botocore.exceptions.BotoCoreError as error:
        raise Missing("The object store does not answer: see S3_ENDPOINT_URL.") from error


def release() -> None:
    with _database_trouble("the control database does not tell"):
        if not Release.objects.filter(current=True).exists():
            raise Missing("No release of the tenant application is published. Run `manage.py publish_release`.")


def erasures() -> None:
    """A database that is older than an erasure is not served: it would bring the erased data back."""
    with _database_trouble("the ledger of erasures cannot be read"):
        try:
            if restored := behind_lately():
                raise Missing(" ".join(map(str, restored)))
        except Transient as error:
            raise Missing("The ledger of erasures cannot be read.") from error


def workers() -> None:
    with _database_trouble("the control database does not tell"):
        recent = QueuePulse.objects.filter(looked_at__gte=timezone.now() - WORKERS_LOOK_EVERY)
        seen = set(recent.values_list("queue", flat=True))
    if silent := [queue for queue in Queue.values if queue not in seen]:
        seconds = WORKERS_LOOK_EVERY.total_seconds()
        raise Missing(f"Nobody looked for work of {' and '.join(silent)} for {seconds:.0f} s. Is a worker running?")


CHECKS: dict[str, Callable[[], None]] = {
    "control_database": control_database,
    "migrations": migrations,
    "keyring": keyring,
    "broker": broker,
    "cache": cache_server,
    "object_store": object_store,
    "release": release,
    "erasures": erasures,
    "workers": workers,
}


@contextmanager
def _database_trouble(saying: str) -> Iterator[None]:
    try:
        yield
    except DatabaseError as error:
        raise Missing(f"{saying[0].upper()}{saying[1:]}.") from error


@cache
def _written_migrations() -> frozenset[tuple[str, str]]:
    """The migrations of the control plane's own apps. They do not change while a process lives."""
    ours = control_labels()
    return frozenset(key for key in MigrationLoader(None).disk_migrations or () if key[0] in ours)


@cache
def _s3(endpoint: str | None) -> "S3Client":
    config = Config(connect_timeout=TIMEOUT_S, read_timeout=TIMEOUT_S, retries={"total_max_attempts": 1})
    return boto3.client("s3", endpoint_url=endpoint, config=config)
