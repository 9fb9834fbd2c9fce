"""Every seam that refuses says so here: one event name per layer, ids only, and never more than a few lines a minute.

# Note [Refusals are counted in powers of ten]
A process that attacks, or a loop that forgot its scope, refuses thousands of times a minute. The same refusal of the
same subject is logged as the 1st, 10th, 100th … of a minute, each with the count so far: the first shows at once, ten
are enough for an alarm, and a flood stays readable. Counts are of one process.

An application's process can only read the directory, so the record is a log line; where more is wanted (the audit log
of the control plane), a logging handler on LOGGER takes the same record: see `event`, `reason`, `subject`, `count`.
"""

import logging
from collections import Counter
from enum import StrEnum
from threading import Lock
from time import time

from tenants.context import current_or_none

LOGGER = "tenants.isolation.refused"
MOST_COUNTED = 10_000  # kinds of refusals within a minute; a subject that is made up at each attempt must not fill us
MINUTE_S = 60

_logger = logging.getLogger(LOGGER)


class Layer(StrEnum):
    """Which seam refused. The event is `isolation.refused.<layer>`."""

    HOST = "host"
    TOKEN = "token"  # noqa: S105  a word
    DATABASE = "database"
    CACHE = "cache"
    STORAGE = "storage"
    TASK = "task"
    FIELD = "field"


class _Counted:
    """What this process refused in the current minute."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.minute = 0
        self.counts: Counter[tuple[Layer, str, str]] = Counter()

    def one_more(self, kind: tuple[Layer, str, str], minute: int) -> int:
        with self.lock:
            if minute != self.minute or len(self.counts) >= MOST_COUNTED:
                self.minute, self.counts = minute, Counter()
            self.counts[kind] += 1
            return self.counts[kind]


_counted = _Counted()


def refused(layer: Layer, reason: str, *, subject: str = "") -> None:
    """Say that `layer` refused. Call it where the error is raised; it never raises itself.

    `reason` is fixed words of the code ("no scope"), never what was refused: that may be somebody's data. `subject` is
    an id of whoever tried (a tenant's key, the id of a token or task); empty: the tenant of the open scope.
    """
    scope = current_or_none()
    who = subject or ("-" if scope is None else scope.key)
    count = _counted.one_more((layer, reason, who), int(time()) // MINUTE_S)
    if not _is_power_of_ten(count):
        return
    event = f"isolation.refused.{layer}"
    _logger.warning(
        "%s: %s", event, reason, extra={"event": event, "reason": reason, "subject": who, "count": count}, stacklevel=2
    )


def _is_power_of_ten(count: int) -> bool:
    return str(count).strip("0") == "1"
