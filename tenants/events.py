"""Events: what integrations will read. Written with the change they tell of, in one transaction, never after it."""

from enum import StrEnum
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import F
from django.db.transaction import TransactionManagementError

from tenants.models import Event, Tenant


class EventType(StrEnum):
    TENANT_CREATED = "tenant.created"
    TENANT_ACTIVATED = "tenant.activated"
    TENANT_ONBOARDING_FAILED = "tenant.onboarding_failed"
    TENANT_UPDATED = "tenant.updated"
    CREDENTIAL_ROTATED = "credential.rotated"
    OPERATION_SUCCEEDED = "operation.succeeded"
    OPERATION_FAILED = "operation.failed"
    OPERATION_CANCELLED = "operation.cancelled"
    OPERATION_PARKED = "operation.parked"


def record(
    type: EventType, *, tenant_id: UUID, operation: UUID | None = None, data: dict[str, Any] | None = None
) -> None:
    """Append one event. Must run inside the transaction of the change: it takes the lock on the tenant's row."""
    if not connection.in_atomic_block:
        raise TransactionManagementError("An event is written in the transaction of the change it tells of.")
    Tenant.objects.filter(pk=tenant_id).update(event_sequence=F("event_sequence") + 1)
    sequence = Tenant.objects.values_list("event_sequence", flat=True).get(pk=tenant_id)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_xact_id()::text::bigint")
        (xid,) = cursor.fetchone()
    Event.objects.create(
        type=type, tenant_id=tenant_id, sequence=sequence, operation=operation, data=data or {}, xid=xid
    )
