"""What a pool may answer instead of rows. None is a django.db.Error: an application that catches those and goes on
without its data must not go on without its tenant.
"""

from tenants.errors import TenureError


class ContextRefused(TenureError):
    """The database does not let this session work as the tenant."""

    code = "CONTEXT_REFUSED"
    cure = "Compare the clocks of this machine and the database, then look for the tenant in the guard of its database."


class TenantClosed(ContextRefused):
    """The tenant's door is closed in this database: it is suspended, being moved, or lives elsewhere by now."""

    code = "TENANT_CLOSED"
    cure = "Try again in a moment with the tenant's present context. If it lasts, read its state."


class NoContextKey(TenureError):
    """The tenant is in a pool, and its credentials hold no key to sign tickets with."""

    code = "NO_CONTEXT_KEY"
    cure = "Ask for credentials anew; if it lasts, the control plane is older than this application."


class TransactionLost(TenureError):
    """The transaction ended in the middle of its block: some statement said COMMIT or ROLLBACK."""

    code = "TRANSACTION_LOST"
    cure = "Look for the statement: it was raw SQL of the application, or injected into it."


class StatementLost(TenureError):
    """A table that the transaction reads was altered while the session had statements about it prepared."""

    code = "STATEMENT_LOST"
    cure = "Run the transaction again."
