"""A worker that has gone deaf ends itself, so that whoever supervises it starts one that hears.

# Note [Deaf workers]
After its broker vanished at a bad moment a Celery worker may stay connected and never consume again; releases mended
some of the ways into that and later ones found others (celery/celery#8030, #8091, #9054, #10205). The sweeper then
drives the work, slowly. Deaf is: a process is free, messages wait in a queue of ours, and none was taken, at LOOKS
looks in a row. The queue is asked over a connection of its own. A busy worker is not deaf, nor is one whose broker does
not answer (the message is not known to wait), nor one without a database (it takes messages, and its tasks fail). The
looks are counted, not the seconds between them: a machine that slept has missed nothing.
"""

import logging
import os
from threading import Event, Thread
from typing import Any

from celery import bootsteps
from celery.signals import task_received
from celery.worker import state
from django.conf import settings
from kombu.exceptions import OperationalError

logger = logging.getLogger("tenure.hearing")

LOOKS = 6
STATUS = 75  # sysexits.h, EX_TEMPFAIL: start it again
ENDS_WITHIN_S = 45.0  # longer than worker_soft_shutdown_timeout; after that the event loop itself must hang


class Hearing(bootsteps.StartStopStep):
    """One thread in the worker's main process, which looks on while the event loop consumes."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **_options: Any) -> None:
        super().__init__(worker)
        self._taken, self._stopped = 0, Event()

    def start(self, worker: Any) -> None:
        """Called once, after the pool's first processes were forked."""
        task_received.connect(self._take, weak=False)
        Thread(target=self._listen, args=(worker,), name="hearing", daemon=True).start()

    def stop(self, worker: Any) -> None:  # noqa: ARG002  Celery's signature
        self._stopped.set()

    def _take(self, **_told: Any) -> None:
        self._taken += 1

    def _listen(self, worker: Any) -> None:
        missed, taken = 0, 0
        while not self._stopped.wait(settings.TENURE_DEAF_AFTER_S / LOOKS):
            waits = messages_wait(worker) and has_free_process(worker)
            missed = missed + 1 if waits and taken == self._taken else 0
            taken = self._taken
            if missed == LOOKS:
                self._end()
                return

    def _end(self) -> None:
        logger.critical("Messages wait and this worker takes none: it ends, to be started again.")
        setattr(state, "should_stop", STATUS)  # noqa: B010  declared as None; Celery ends with what it finds there
        if not self._stopped.wait(ENDS_WITHIN_S):
            os._exit(STATUS)


def has_free_process(worker: Any) -> bool:
    return bool(len(state.reserved_requests) < worker.concurrency)


def messages_wait(worker: Any) -> bool:
    """Whether a queue that this worker consumes holds a message. False when the broker does not say."""
    connection = worker.app.connection_for_read()
    try:
        with connection:
            return any(
                connection.default_channel.queue_declare(queue=queue, passive=True).message_count
                for queue in worker.app.amqp.queues.consume_from
            )
    except (OperationalError, *connection.connection_errors, *connection.channel_errors):
        return False  # away; or all queues are empty, and Redis calls that "no such queue"
