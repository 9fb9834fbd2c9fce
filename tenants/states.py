"""The states of a tenant, the tiers, and which change may follow which."""

from django.db import models


class Tier(models.TextChoices):
    """Where a tenant's rows live."""

    POOL = "pool", "shared tables under row security"
    SCHEMA = "schema", "schema of its own"
    DATABASE = "database", "database of its own"


class TenantState(models.TextChoices):
    """States in -ing mean that an operation is under way; the others are reached only after its work is done."""

    PROVISIONING = "provisioning"
    ACTIVE = "active"
    FAILED = "failed"
    SUSPENDING = "suspending"
    SUSPENDED = "suspended"
    RESUMING = "resuming"
    DELETING = "deleting"
    DELETED = "deleted"
    ERASING = "erasing"
    ERASED = "erased"


class DeleteReason(models.TextChoices):
    """Why a tenant was deleted: a word for lists and statistics, beside the sentence that its operation keeps."""

    CONTRACT_ENDED = "contract_ended", "its contract ended"
    UNPAID = "unpaid", "it was not paid for"
    MISUSE = "misuse", "it was misused"
    NOT_NEEDED = "not_needed", "it was a test or a mistake"


TRANSITIONS: dict[TenantState, frozenset[TenantState]] = {
    TenantState.PROVISIONING: frozenset({TenantState.ACTIVE, TenantState.FAILED, TenantState.ERASING}),
    # Provisioning: a retry, which is a new operation on the same tenant.
    TenantState.FAILED: frozenset({TenantState.PROVISIONING, TenantState.DELETING, TenantState.ERASING}),
    TenantState.ACTIVE: frozenset({TenantState.SUSPENDING, TenantState.DELETING, TenantState.ERASING}),
    TenantState.SUSPENDING: frozenset({TenantState.SUSPENDED, TenantState.ACTIVE, TenantState.ERASING}),
    TenantState.SUSPENDED: frozenset({TenantState.RESUMING, TenantState.DELETING, TenantState.ERASING}),
    # Back to where it came from when the operation is undone; failed, when what was deleted had never been active.
    TenantState.RESUMING: frozenset(
        {TenantState.ACTIVE, TenantState.SUSPENDED, TenantState.DELETED, TenantState.FAILED, TenantState.ERASING}
    ),
    TenantState.DELETING: frozenset(
        {TenantState.DELETED, TenantState.ACTIVE, TenantState.SUSPENDED, TenantState.FAILED, TenantState.ERASING}
    ),
    TenantState.DELETED: frozenset({TenantState.RESUMING, TenantState.ERASING}),
    TenantState.ERASING: frozenset({TenantState.ERASED}),
    TenantState.ERASED: frozenset(),
}

KEEPS_ROWS = (
    TenantState.ACTIVE,
    TenantState.SUSPENDING,
    TenantState.SUSPENDED,
    TenantState.RESUMING,
    TenantState.DELETING,
    TenantState.DELETED,
)
"""Whose tables stand, whole, whether or not anybody is let in. A release is taken to all of them."""
