"""Events: what integrations will read. Written with the change they tell of, in one transaction, never after it."""

import json
from enum import StrEnum
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.transaction import TransactionManagementError

from tenants.models import Tenant

APPEND = """
WITH counted AS (
    UPDATE tenants_tenant SET event_sequence = event_sequence + 1 WHERE id = ANY (%s) RETURNING id, event_sequence
)
INSERT INTO tenants_event (tenant_id, sequence, type, operation, data, xid)
SELECT id, event_sequence, %s, %s::uuid, %s::jsonb, pg_current_xact_id()::text::bigint FROM counted
"""

APPEND_OF_FLEET = """
INSERT INTO tenants_event (type, operation, data, xid)
VALUES (%s, %s::uuid, %s::jsonb, pg_current_xact_id()::text::bigint)
"""


class EventType(StrEnum):
    TENANT_CREATED = "tenant.created"
    TENANT_ACTIVATED = "tenant.activated"
    TENANT_ONBOARDING_FAILED = "tenant.onboarding_failed"
    TENANT_UPDATED = "tenant.updated"
    TENANT_SUSPENDED = "tenant.suspended"
    TENANT_RESUMED = "tenant.resumed"
    TENANT_DELETED = "tenant.deleted"
    TENANT_UNDELETED = "tenant.undeleted"
    TENANT_SUSPENSION_SCHEDULED = "tenant.suspension_scheduled"
    TENANT_DELETION_SCHEDULED = "tenant.deletion_scheduled"
    CREDENTIAL_ROTATED = "credential.rotated"
    OPERATION_SUCCEEDED = "operation.succeeded"
    OPERATION_FAILED = "operation.failed"
    OPERATION_CANCELLED = "operation.cancelled"
    OPERATION_PARKED = "operation.parked"
    TENANT_ERASED = "tenant.erased"
    ERASURE_REQUESTED = "erasure.requested"
    ERASURE_PROPOSED = "erasure.proposed"
    ERASURE_APPROVED = "erasure.approved"
    ERASURE_VOIDED = "erasure.voided"
    ERASURE_REJECTED = "erasure.rejected"
    ERASURE_BLOCKED = "erasure.blocked"
    ERASURE_CANCELLED = "erasure.cancelled"
    ERASURE_STARTED = "erasure.started"
    ERASURE_COMPLETED = "erasure.completed"
    ERASURE_REGRESSED = "erasure.regressed"
    ERASURE_CERTIFICATE_ISSUED = "erasure.certificate_issued"
    ROLLOUT_APPROVED = "rollout.approved"
    ROLLOUT_WAVE_COMPLETED = "rollout.wave_completed"
    ROLLOUT_PAUSED = "rollout.paused"
    ROLLOUT_RESUMED = "rollout.resumed"
    ROLLOUT_SUCCEEDED = "rollout.succeeded"
    ROLLOUT_CANCELLED = "rollout.cancelled"
    ROLLOUT_TARGET_FAILED = "rollout.target_failed"
    ROLLOUT_TARGET_SKIPPED = "rollout.target_skipped"


def record(
    type: EventType, *, tenant_id: UUID, operation: UUID | None = None, data: dict[str, Any] | None = None
) -> None:
    """Append one event. Must run inside the transaction of the change: it takes the lock on the tenant's row."""
    record_together(type, tenant_ids=[tenant_id], operation=operation, data=data)


def record_together(
    type: EventType, *, tenant_ids: list[UUID], operation: UUID | None = None, data: dict[str, Any] | None = None
) -> None:
    """The same event of several tenants, each named once."""
    _assert_inside()
    with connection.cursor() as cursor:
        cursor.execute(APPEND, (tenant_ids, str(type), operation, json.dumps(data or {})))
        if cursor.rowcount < len(tenant_ids):
            raise Tenant.DoesNotExist


def record_of_fleet(type: EventType, *, operation: UUID | None = None, data: dict[str, Any]) -> None:
    """Append one event that is about no single tenant."""
    _assert_inside()
    with connection.cursor() as cursor:
        cursor.execute(APPEND_OF_FLEET, (str(type), operation, json.dumps(data)))


def _assert_inside() -> None:
    if not connection.in_atomic_block:
        raise TransactionManagementError("An event is written in the transaction of the change it tells of.")
