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
    SUSPENDED = "suspended"


TRANSITIONS: dict[TenantState, frozenset[TenantState]] = {
    TenantState.PROVISIONING: frozenset({TenantState.ACTIVE, TenantState.FAILED}),
    TenantState.FAILED: frozenset({TenantState.PROVISIONING}),  # a retry: a new operation on the same tenant
    TenantState.ACTIVE: frozenset({TenantState.SUSPENDED}),
    TenantState.SUSPENDED: frozenset({TenantState.ACTIVE}),
}
