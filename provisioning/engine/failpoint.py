"""Where tests kill a worker. Inert unless TENURE_FAILPOINT is `[undo/]step:moment`; settings allow that in tests."""

import os
import signal
from enum import StrEnum

from django.conf import settings

from provisioning.models import Direction


class Moment(StrEnum):
    """The boundaries of one step, in order."""

    CLAIMED = "claimed"
    STARTED = "started"
    INSIDE = "inside"
    BODY_DONE = "body_done"
    BEFORE_RECORD = "before_record"  # not committed; written, if that is not the same
    AFTER_RECORD = "after_record"


def reached(moment: Moment, step: str, direction: str) -> None:
    """Die here, if here is where the test wants it."""
    if wanted := getattr(settings, "TENURE_FAILPOINT", ""):
        here = f"{'undo/' if direction == Direction.UNDO else ''}{step}:{moment}"
        if wanted == here:
            os.kill(os.getpid(), signal.SIGKILL)
