"""Legal holds: while one is open, nothing of the tenant is purged or erased, whoever asks and whatever is due."""

from __future__ import annotations

from datetime import date

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from provisioning.models import LegalHold
from provisioning.workflows.accepting import as_uuid, need
from tenants.audit import Actor, AuditAction, ObjectType
from tenants.audit import write as audit
from tenants.errors import StateConflict, TenureError
from tenants.models import Tenant
from tenants.states import TenantState

GROUND_LENGTH = 200
TOO_LATE = (TenantState.ERASING, TenantState.ERASED)


class InvalidHold(TenureError):
    """A legal hold needs a ground, and a day on which somebody looks at it again."""

    code = "VALIDATION_FAILED"
    cure = f"Name the law or the case in 1 to {GROUND_LENGTH} characters, and give a day that is not over."


def place_hold(*, tenant: Tenant, ground: str, review_on: date, actor: Actor, request_id: str = "") -> LegalHold:
    """Keep the tenant's data until the hold is released. Raises InvalidHold; StateConflict once it is being erased.

    Takes the lock on the tenant's row: an erasure either sees the hold, or has begun before it was placed.
    """
    if not 0 < len(ground.strip()) <= GROUND_LENGTH:
        raise InvalidHold(field="ground")
    if review_on < timezone.now().date():
        raise InvalidHold(f"{review_on} is over.", field="review_on")
    with transaction.atomic():
        tenant = Tenant.objects.select_for_update().get(pk=tenant.pk)
        if tenant.state in TOO_LATE:
            raise StateConflict(f"Tenant {tenant.slug} is {tenant.state}: there is nothing left to hold.")
        hold = LegalHold.objects.create(
            tenant=tenant, ground=ground.strip(), review_on=review_on, placed_by=str(actor), created_at=timezone.now()
        )
        _written(hold, AuditAction.HOLD_PLACED, actor, request_id)
    return hold


def release_hold(*, hold: LegalHold, reason: str, actor: Actor, request_id: str = "") -> LegalHold:
    """What it held back goes on by itself, unless another hold is open. Raises StateConflict if it is released."""
    need(reason)
    with transaction.atomic():
        Tenant.objects.select_for_update().get(pk=hold.tenant_id)
        changed = LegalHold.objects.filter(pk=hold.pk, released_at=None).update(
            released_at=Now(), released_by=str(actor), release_reason=reason
        )
        if changed != 1:
            raise StateConflict("This hold is released already.", cure="Read the tenant's holds again.")
        _written(hold, AuditAction.HOLD_RELEASED, actor, request_id)
    hold.refresh_from_db()
    return hold


def _written(hold: LegalHold, action: AuditAction, actor: Actor, request_id: str) -> None:
    Tenant.objects.filter(pk=hold.tenant_id).update(version=F("version") + 1, updated_at=Now())
    audit(
        action,
        actor=actor,
        object=(ObjectType.HOLD, hold.pk),
        tenant=hold.tenant_id,
        request=as_uuid(request_id),
    )
