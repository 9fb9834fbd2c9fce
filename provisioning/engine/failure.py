"""What a body's exception means for its run: the one place that tells Transient, Permanent and the unforeseen apart."""

from __future__ import annotations

import random
import traceback
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from typing import Any

import django.db
import psycopg

from provisioning.errors import Permanent, StaleFence, Transient
from tenants.errors import TenureError

BASE_S, CAP_S = 1.0, 300.0
LONGEST_DETAIL = 600

# A lost connection, a deadlock, a server that is starting: whatever PostgreSQL reports about itself, not about our SQL.
OUTAGES = (
    django.db.OperationalError,
    django.db.InterfaceError,
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.IdleInTransactionSessionTimeout,
)


class Verdict(Enum):
    TRY_AGAIN = auto()
    REFUSED = auto()
    UNFORESEEN = auto()


@dataclass(frozen=True, slots=True)
class Failure:
    """`detail` is for an operator: the real cause, no row values, no secret."""

    verdict: Verdict
    code: str
    detail: str
    hint: str
    retry_after: timedelta = timedelta(0)

    def row(self, *, step: str, attempts: int, cause: dict[str, Any] | None = None) -> dict[str, Any]:
        """The run's `error`. `cause` is what had turned the run back, when this failure befell its undo."""
        error: dict[str, Any] = {
            "code": self.code,
            "detail": self.detail,
            "hint": self.hint,
            "step": step,
            "attempts": attempts,
            "retryable": self.verdict is Verdict.TRY_AGAIN,
        }
        return error if cause is None else {**error, "cause": cause}


def failure(error: Exception) -> Failure:
    """The verdict on one exception."""
    match error:
        case Transient():
            retry_after = error.retry_after or timedelta(0)
            return Failure(Verdict.TRY_AGAIN, error.code, _said(error), error.cure, retry_after)
        case Permanent():
            return Failure(Verdict.REFUSED, error.code, _said(error), error.cure)
        case StaleFence():
            hint = "After a restore of the control database raise the fence, then retry."
            return Failure(Verdict.UNFORESEEN, "FENCE_BEHIND", _said(error), hint)
        case _ if is_outage(error):
            hint = "Nothing to do yet: it is tried again by itself."
            return Failure(Verdict.TRY_AGAIN, "DATABASE_UNREACHABLE", _said(error), hint)
        case _:
            hint = "This is a defect: the worker's log has the traceback. Retry once it is mended."
            return Failure(Verdict.UNFORESEEN, "UNFORESEEN", _whereabouts(error), hint)


def is_outage(error: BaseException) -> bool:
    """Whether PostgreSQL was away or ended our session. Django hides some of that behind classes of its own."""
    return isinstance(error, OUTAGES) or isinstance(error.__cause__, OUTAGES)


def jitter(attempts: int) -> timedelta:
    """How long to wait after so many failures in a row: full jitter, so that a fleet does not come back as one."""
    return timedelta(seconds=random.uniform(0, min(CAP_S, BASE_S * 2 ** min(attempts, 16))))


def _said(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:LONGEST_DETAIL]


def _whereabouts(error: Exception) -> str:
    """Type and place. The message of an error that nobody foresaw may quote a row or a secret; a place cannot."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" in {frames[-1].name}, line {frames[-1].lineno}" if frames else ""
    code = f" ({error.code})" if isinstance(error, TenureError) else ""
    return f"{type(error).__name__}{code}{place}"
