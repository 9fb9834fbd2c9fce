"""Liveness asks nobody; readiness asks every server and names what is missing."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections
from django.test import RequestFactory
from django.utils import timezone
from pytest_django import Settings

from controlplane.health import healthz, readyz
from controlplane.stack.embedded import Stack
from controlplane.stack.ports import HOST, free_ports
from provisioning.erasure.restored import look_again
from provisioning.models import Queue, QueuePulse, Release


def missing() -> dict[str, str]:
    response = readyz(RequestFactory().get("/readyz"))
    answer: dict[str, Any] = json.loads(response.content)
    assert response.status_code == (200 if answer["ready"] else 503)
    assert answer["ready"] == (not answer["missing"])
    named: dict[str, str] = answer["missing"]
    return named


@pytest.fixture
def ready(control: None) -> None:
    Release.objects.create(name="first", state=Release.State.PUBLISHED, current=True, placeholder="p")
    for queue in Queue:
        QueuePulse.objects.create(queue=queue, looked_at=timezone.now())
    look_again()


def test_liveness_needs_no_database() -> None:
    assert healthz(RequestFactory().get("/healthz")).status_code == 200


def test_everything_in_place_is_ready(ready: None) -> None:
    assert missing() == {}


def test_a_migrated_but_empty_control_plane_lacks_a_release_and_workers(control: None) -> None:
    assert set(missing()) == {"release", "workers"}


def test_a_pool_that_nobody_looked_at_for_a_minute_is_named(ready: None) -> None:
    QueuePulse.objects.filter(queue=Queue.FLEET).update(looked_at=timezone.now() - timedelta(seconds=61))
    assert missing() == {"workers": "Nobody looked for work of fleet for 60 s. Is a worker running?"}


def test_a_migration_that_was_not_applied_is_named(ready: None) -> None:
    with connections["owner"].cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE (app, name) = ('tenants', '0001_first_release')")
    connections["owner"].close()
    assert "tenants.0001_first_release" in missing()["migrations"]


@pytest.mark.parametrize(
    ("setting", "value", "name"),
    [
        ("BROKER_URL", "redis://{nobody}/0", "broker"),
        ("BROKER_URL", "amqp://{nobody}//", "broker"),
        ("S3_ENDPOINT_URL", "http://{nobody}", "object_store"),
    ],
)
def test_a_server_that_does_not_answer_is_named(
    ready: None, settings: Settings, setting: str, value: str, name: str
) -> None:
    setattr(settings, setting, value.format(nobody=f"{HOST}:{free_ports().base}"))
    assert set(missing()) == {name}


def test_a_cache_that_does_not_answer_is_named(ready: None, settings: Settings) -> None:
    nobody = f"redis://{HOST}:{free_ports().base}/1"
    settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": nobody}}
    assert missing() == {"cache": "CACHE_URL does not answer."}


def test_without_postgresql_it_still_answers(ready: None, stack: Stack) -> None:
    connections.close_all()
    stack.end("postgres")
    try:
        assert set(missing()) == {"control_database", "migrations", "keyring", "release", "erasures", "workers"}
    finally:
        stack.begin("postgres")
