"""What can go wrong while a tenant is changed. A provider turns its vendor's error into one of these, at its edge."""

from datetime import timedelta

from tenants.errors import TenureError


class Transient(TenureError):
    """The other side did not answer, or asked to come back later.

    Tried again with growing, random waits. `retry_after` is added to the wait when the other side named one.
    """

    code = "TRANSIENT"
    cure = "Nothing to do yet: it is tried again by itself."

    def __init__(
        self, message: str = "", *, cure: str = "", retry_after: timedelta | None = None, **metadata: object
    ) -> None:
        super().__init__(message, cure=cure, **metadata)
        self.retry_after = retry_after


class Permanent(TenureError):
    """The other side refused, and will refuse again. Before the pivot the run is undone, after it a person decides."""

    code = "PERMANENT"
    cure = "Read the detail, remove the cause, and ask again."


class StaleFence(TenureError):
    """A newer claim has been at work in this tenant's database: this worker may write nothing there."""

    code = "STALE_FENCE"
    cure = "Nothing to do if another worker took over. After a restore of the control database raise the fence."


class OperationInProgress(TenureError):
    """Another operation on the same tenant is not finished. `metadata["blocking_operation"]` names it."""

    code = "OPERATION_IN_PROGRESS"
    cure = "Wait for it to end, or cancel it."


class KeyReused(TenureError):
    """The key was used before, for a different request."""

    code = "IDEMPOTENCY_KEY_REUSED"
    cure = "Send the first request again to see its answer, or use a new key."


class PastPivot(TenureError):
    """The operation has passed the step after which it only goes forward. `metadata["pivot"]` names that step."""

    code = "STATE_CONFLICT"
    cure = "Let it finish, then use the opposite verb."


class ReasonMissing(TenureError):
    """The act needs a reason, which is kept with the operation."""

    code = "VALIDATION_FAILED"
    cure = "Say in a sentence why you do this."


class PlanChanged(TenureError):
    """What would happen now is not what was confirmed."""

    code = "PLAN_CHANGED"
    cure = "Read the new plan, and confirm that one."
