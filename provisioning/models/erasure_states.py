"""The states of an erasure request, which change may follow which, and the word the audit log has for each."""

from django.db import models

from tenants.actions import AuditAction
from tenants.events import EventType


class ErasureState(models.TextChoices):
    """There is no `failed`: whoever is stuck keeps the state and the clock, and `attention` says why."""

    RECEIVED = "received"
    IDENTIFYING = "identifying"
    PLANNING = "planning"
    BLOCKED = "blocked"
    AWAITING_APPROVAL = "awaiting_approval"
    SCHEDULED = "scheduled"
    FREEZING = "freezing"
    ERASING = "erasing"
    CHECKING = "checking"
    SETTLING = "settling"
    COMPLETED = "completed"
    REGRESSED = "regressed"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    MERGED = "merged"


_S = ErasureState
_GIVEN_UP = frozenset({_S.REJECTED, _S.CANCELLED})
ERASURE_TRANSITIONS: dict[ErasureState, frozenset[ErasureState]] = {
    _S.RECEIVED: frozenset({_S.IDENTIFYING, _S.PLANNING, _S.MERGED}) | _GIVEN_UP,
    _S.IDENTIFYING: frozenset({_S.PLANNING, _S.MERGED}) | _GIVEN_UP,
    _S.PLANNING: frozenset({_S.BLOCKED, _S.AWAITING_APPROVAL}) | _GIVEN_UP,
    _S.BLOCKED: frozenset({_S.PLANNING}) | _GIVEN_UP,
    _S.AWAITING_APPROVAL: frozenset({_S.SCHEDULED, _S.PLANNING}) | _GIVEN_UP,
    _S.SCHEDULED: frozenset({_S.FREEZING, _S.PLANNING, _S.CANCELLED}),
    _S.FREEZING: frozenset({_S.ERASING, _S.PLANNING, _S.CANCELLED}),
    # the bar: whatever stands below has destroyed something
    _S.ERASING: frozenset({_S.CHECKING}),
    _S.CHECKING: frozenset({_S.ERASING, _S.SETTLING}),
    _S.SETTLING: frozenset({_S.COMPLETED, _S.REGRESSED}),
    _S.COMPLETED: frozenset({_S.REGRESSED}),
    _S.REGRESSED: frozenset({_S.ERASING}),
    _S.REJECTED: frozenset(),
    _S.CANCELLED: frozenset(),
    _S.MERGED: frozenset(),
}
UNAPPROVED = (_S.RECEIVED, _S.IDENTIFYING, _S.PLANNING, _S.BLOCKED, _S.AWAITING_APPROVAL)
REPLAYED = "replayed"
"""The reason of a request that was restored from before its bar, and was erased again by its tombstone."""
CLOSED = (_S.REJECTED, _S.CANCELLED, _S.MERGED)  # without having destroyed anything
LEFT_OF_THE_BAR = (*UNAPPROVED, _S.SCHEDULED, _S.FREEZING)
RIGHT_OF_THE_BAR = (_S.ERASING, _S.CHECKING, _S.SETTLING, _S.COMPLETED, _S.REGRESSED)
ENDED_REQUESTS = (*CLOSED, _S.COMPLETED)
AT_WORK = (_S.FREEZING, _S.ERASING, _S.CHECKING, _S.REGRESSED)  # an operation erases or looks, or is to

SAYS: dict[ErasureState, tuple[AuditAction, EventType | None]] = {
    _S.RECEIVED: (AuditAction.ERASURE_REQUESTED, EventType.ERASURE_REQUESTED),
    _S.IDENTIFYING: (AuditAction.ERASURE_IDENTIFYING, None),
    _S.PLANNING: (AuditAction.ERASURE_PLANNING, None),
    _S.BLOCKED: (AuditAction.ERASURE_BLOCKED, EventType.ERASURE_BLOCKED),
    _S.AWAITING_APPROVAL: (AuditAction.ERASURE_PROPOSED, EventType.ERASURE_PROPOSED),
    _S.SCHEDULED: (AuditAction.ERASURE_APPROVED, EventType.ERASURE_APPROVED),
    _S.FREEZING: (AuditAction.ERASURE_FREEZING, None),
    _S.ERASING: (AuditAction.ERASURE_STARTED, EventType.ERASURE_STARTED),
    _S.CHECKING: (AuditAction.ERASURE_CHECKING, None),
    _S.SETTLING: (AuditAction.ERASURE_SETTLED, EventType.ERASURE_CERTIFICATE_ISSUED),
    _S.COMPLETED: (AuditAction.ERASURE_COMPLETED, EventType.ERASURE_COMPLETED),
    _S.REGRESSED: (AuditAction.ERASURE_REGRESSED, EventType.ERASURE_REGRESSED),
    _S.REJECTED: (AuditAction.ERASURE_REJECTED, EventType.ERASURE_REJECTED),
    _S.CANCELLED: (AuditAction.ERASURE_CANCELLED, EventType.ERASURE_CANCELLED),
    _S.MERGED: (AuditAction.ERASURE_MERGED, None),
}
"""What is written of the arrival in each state: in the audit log, and for integrations."""
VOIDED = (AuditAction.ERASURE_VOIDED, EventType.ERASURE_VOIDED)
"""Instead, where a plan that somebody proposed or approved holds no more."""
