"""A real worker behind a wire that can swallow its traffic: deaf, it ends; busy or without a broker, it waits."""

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from threading import Event, Thread
from urllib.parse import urlsplit

import psycopg
import pytest
from django.conf import settings

from controlplane.bell import Bell
from controlplane.hearing import ENDS_WITHIN_S, LOOKS, STATUS
from controlplane.stack.embedded import Stack
from provisioning.engine.claim import CLAIM_LOCK
from provisioning.models import Queue, QueuePulse
from tests import databases
from tests.crashes.harness import LONG_AGO, wait_for

pytestmark = pytest.mark.long

HOST = "127.0.0.1"


class Wire:
    """Passes bytes on to the broker. `old` connections can be swallowed, and new ones refused."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._server = socket.create_server((HOST, 0))
        self._swallowing = Event()
        self.closed, self.opened = Event(), 0
        Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self._server.getsockname()[1]}/0"

    def swallow_what_is_open(self) -> None:
        """Those who are connected now stay so, and hear nothing any more."""
        self._swallowing.set()
        self._swallowing = Event()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _address = self._server.accept()
                self.opened += 1
                if self.closed.is_set():
                    client.close()
                else:
                    Thread(target=self._pass_on, args=(client, self._swallowing), daemon=True).start()

    def _pass_on(self, client: socket.socket, swallowing: Event) -> None:
        with client, socket.create_connection((HOST, self._port)) as broker, suppress(OSError):
            other = {client: broker, broker: client}
            while not self.closed.is_set():
                for end in select.select([client, broker], [], [], 0.05)[0]:
                    heard = end.recv(65_536)
                    if not heard:
                        return
                    if not swallowing.is_set():
                        other[end].sendall(heard)

    def close(self) -> None:
        self.closed.set()
        self._server.close()


@pytest.fixture
def wire() -> Iterator[Wire]:
    wire = Wire(urlsplit(settings.BROKER_URL).port or 6379)
    yield wire
    wire.close()


@pytest.fixture
def worker(control: None, wire: Wire) -> Iterator[subprocess.Popen[bytes]]:
    options = ("-Q", "tenure.operations", "--concurrency", "1", "--loglevel", "ERROR")
    quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    environment = {**os.environ, "BROKER_URL": wire.url, "TENURE_DEAF_AFTER_S": "1.2"}
    command = (sys.executable, "-m", "celery", "-A", "controlplane", "worker", *options, *quiet)
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    ring_until_heard()
    yield process
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    databases.close_all()


def ring_until_heard() -> None:
    """As the sweeper does."""
    QueuePulse.objects.update(looked_at=LONG_AGO)
    wait_for(is_heard)


def is_heard() -> bool:
    Bell().ring(Queue.OPERATIONS)
    time.sleep(0.1)
    return QueuePulse.objects.filter(queue=Queue.OPERATIONS, looked_at__gt=LONG_AGO).exists()


def test_a_worker_that_hears_nothing_while_messages_wait_ends_itself(
    worker: subprocess.Popen[bytes], wire: Wire
) -> None:
    wire.swallow_what_is_open()
    for _ring in range(3):  # a broker that waits for the deaf one loses the first
        Bell().ring(Queue.OPERATIONS)
    assert worker.wait(ENDS_WITHIN_S + 15) == STATUS  # at once, unless it was swallowed in mid-acknowledgement


def test_a_busy_worker_is_not_deaf(worker: subprocess.Popen[bytes], wire: Wire, stack: Stack) -> None:
    with psycopg.connect(stack.superuser_url.rsplit("/", 1)[0] + "/tenure") as busy:
        busy.execute("SELECT pg_advisory_xact_lock(%s)", (CLAIM_LOCK,))  # nobody can claim: its one task lasts
        for _ring in range(5):
            Bell().ring(Queue.OPERATIONS)
        wait_for_looks(wire)
        assert worker.poll() is None
    ring_until_heard()


def test_a_worker_whose_broker_is_away_waits_for_it(worker: subprocess.Popen[bytes], wire: Wire) -> None:
    wire.closed.set()
    for _ring in range(5):
        Bell().ring(Queue.OPERATIONS)
    wait_for_looks(wire)
    assert worker.poll() is None
    QueuePulse.objects.update(looked_at=LONG_AGO)
    wire.closed.clear()  # one that lost its broker in mid-acknowledgement may be deaf now, and then ends
    wait_for(lambda: is_heard() or worker.poll() == STATUS, within_s=2 * ENDS_WITHIN_S)


def wait_for_looks(wire: Wire) -> None:
    """Long enough for a worker to call itself deaf: each look is a connection of its own."""
    enough = wire.opened + 3 * LOOKS
    wait_for(lambda: wire.opened > enough)
