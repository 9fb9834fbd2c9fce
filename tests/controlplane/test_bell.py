"""The wake-up through a real broker, a real Celery worker, and no broker at all."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
import redis
from django.conf import settings
from django.db import connection

from controlplane.bell import Bell
from controlplane.celery import QUEUES, app
from provisioning.models import Queue, QueuePulse
from tests import databases
from tests.crashes.harness import LONG_AGO, wait_for

pytestmark = pytest.mark.long

RING_WITHOUT_BROKER = """
import django; django.setup()
from controlplane.bell import Bell
bell = Bell()
for _ in range(1000):
    bell.ring("operations")
"""


@pytest.fixture
def worker(control: None) -> Iterator[subprocess.Popen[bytes]]:
    options = ("-Q", "tenure.operations", "--concurrency", "1", "--loglevel", "ERROR")
    quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "controlplane.settings", "REMAP_SIGTERM": "SIGQUIT"}
    command = (sys.executable, "-m", "celery", "-A", "controlplane", "worker", *options, *quiet)
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    yield process
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    databases.close_all()


def heard() -> bool:
    return QueuePulse.objects.filter(queue=Queue.OPERATIONS, looked_at__gt=LONG_AGO).exists()


def test_there_is_a_queue_for_each_pool() -> None:
    assert set(QUEUES) == {str(queue) for queue in Queue}
    assert [queue.name for queue in app.conf.task_queues] == [f"tenure.{queue}" for queue in QUEUES]


def test_a_ring_wakes_a_worker_also_after_the_broker_lost_everything(worker: subprocess.Popen[bytes]) -> None:
    bell = Bell()
    bell.ring(Queue.OPERATIONS)
    wait_for(heard)
    QueuePulse.objects.update(looked_at=LONG_AGO)
    redis.Redis.from_url(settings.BROKER_URL).flushall()

    def ring_until_heard() -> bool:  # as the sweeper does
        bell.ring(Queue.OPERATIONS)
        time.sleep(0.1)
        return heard()

    wait_for(ring_until_heard)


def test_a_worker_keeps_its_session_from_one_ring_to_the_next(worker: subprocess.Popen[bytes]) -> None:
    def rung() -> set[int]:
        QueuePulse.objects.update(looked_at=LONG_AGO)
        Bell().ring(Queue.OPERATIONS)
        wait_for(heard)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
                " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )
            return {pid for (pid,) in cursor.fetchall()}

    first = rung()
    assert first
    assert rung() == first


def test_a_dead_broker_neither_fails_a_request_nor_holds_it_up() -> None:
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "controlplane.settings"}
    environment["BROKER_URL"] = "redis://127.0.0.1:1/0"
    # Asking a dead broker a thousand times would take minutes: after the first time the bell is silent for a while.
    subprocess.run((sys.executable, "-c", RING_WITHOUT_BROKER), env=environment, check=True, timeout=60)
