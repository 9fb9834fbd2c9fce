"""What can go wrong about a tenant. A class docstring is the message a person reads; `code` is stable."""


class TenureError(Exception):
    """Base of every error Tenure raises on purpose. `code` is stable; `cure` says what to do about it."""

    code = "TENURE_ERROR"
    cure = ""

    def __init__(self, message: str = "", *, cure: str = "", **metadata: object) -> None:
        super().__init__(message or (type(self).__doc__ or self.code).strip())
        self.cure = cure or self.cure
        self.metadata = metadata


class NoTenant(TenureError):
    """No tenant scope is open: this code does not say whose data it wants."""

    code = "NO_TENANT"
    cure = "Open one with `with tenant_scope(context):`; there is no default tenant."


class WrongTenant(TenureError):
    """A scope for another tenant is already open in this task or thread."""

    code = "WRONG_TENANT"
    cure = "Close the outer scope first; one transaction serves one tenant."


class NotAdmitted(TenureError):
    """The tenant does not exist, is not active, or lives another life than the one that was meant."""

    code = "TENANT_NOT_ADMITTED"
    cure = "Look at the tenant's state. What was asked for in a former life or before a suspension must be asked anew."


class StateConflict(TenureError):
    """The tenant's state does not allow this verb."""

    code = "STATE_CONFLICT"
    cure = "Read the tenant's `actions`: they list what may be done now."
