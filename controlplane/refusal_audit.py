"""What the isolation seams refuse in the control plane's own processes, as entries of the audit log.

# Note [Refusals are written by a thread of their own]
A refusal mostly ends a transaction, which would take an entry written in it along; and whoever is refused must not wait
for the log, or see it fail. So a thread writes, on a connection of its own, opened and closed each time: `refusals`
logs equal ones of a minute as the 1st, 10th, 100th …, and `attempts` of an entry is that count. What cannot be written
(no database, too many waiting) is still a log line. A shell inside a tenant's scope writes none: there `default` is the
tenant's database.
"""

import logging
import os
import re
from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import Any
from uuid import UUID

MOST_WAITING = 100
TENANT_KEY = re.compile(r"t_([0-9a-f]{32})")

_log = logging.getLogger(__name__)


class AuditRefusals(logging.Handler):
    """Takes the records of tenants.isolation.refusals.LOGGER. No Django in here: settings.LOGGING is set up first."""

    def __init__(self) -> None:
        super().__init__()
        self._thread: ThreadPoolExecutor | None = None
        self._room = BoundedSemaphore(MOST_WAITING)
        os.register_at_fork(after_in_child=self._begin_anew)  # a fork has our memory and not our thread

    def emit(self, record: logging.LogRecord) -> None:
        if not self._room.acquire(blocking=False):
            return
        try:
            if self._thread is None:
                self._thread = ThreadPoolExecutor(1, thread_name_prefix="audit")
            written = self._thread.submit(_write, vars(record)["event"], vars(record)["subject"], vars(record)["count"])
        except RuntimeError:  # the interpreter is ending
            self._room.release()
        else:
            written.add_done_callback(lambda _written: self._room.release())

    def close(self) -> None:
        """Waits until what was taken is written."""
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None
        super().close()

    def _begin_anew(self) -> None:
        self._thread, self._room = None, BoundedSemaphore(MOST_WAITING)


def _write(event: str, subject: str, count: int) -> None:
    from django.db import DatabaseError, connections

    from tenants.errors import TenureError
    from tenants.isolation.connections import CONTROL_ALIAS

    if CONTROL_ALIAS in connections.settings:
        return
    try:
        _append(event, subject, count)
    except (DatabaseError, TenureError) as error:
        _log.warning("%s is not in the audit log: %s", event, type(error).__name__)
    finally:
        connections.close_all()


def _append(event: str, subject: str, count: int) -> None:
    from django.db import transaction

    from tenants.actions import Actor, ObjectType
    from tenants.audit import write
    from tenants.models import Tenant

    about, tenant = _object(subject)
    said: dict[str, Any] = {
        "actor": Actor(kind="system", id="isolation", name="isolation"),
        "object": (ObjectType(about), tenant or os.getpid()),
        "outcome": "refused",
        "counts": {"attempts": count},
    }
    known = tenant is not None and Tenant.objects.filter(pk=tenant).exists()
    with transaction.atomic():
        write(event, tenant=tenant if known else None, **said)


def _object(subject: str) -> tuple[str, UUID | None]:
    """A tenant by its key. Of anything else the audit log takes no text: there it is the process that refused."""
    if (found := TENANT_KEY.fullmatch(subject)) is not None:
        return "tenant", UUID(found[1])
    return "process", None
