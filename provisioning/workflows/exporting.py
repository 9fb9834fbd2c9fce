"""Accepting an export: into the tenant's bucket as an operation, or at once into a file on this machine."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

from django.db import transaction

from provisioning.models import Run
from provisioning.workflows.accepting import allow, need, repeat_of, started
from provisioning.workflows.export import EXPORT, ExportInput
from provisioning.workflows.passports import tar
from tenants.audit import Actor, AuditAction, ObjectType
from tenants.audit import write as audit
from tenants.errors import StateConflict
from tenants.models import Tenant


def export_tenant(*, tenant: Tenant, reason: str, actor: Actor, key: str, request_id: str = "") -> Run:
    """The tenant's passport into its own bucket. Raises StateConflict, OperationInProgress, ReasonMissing."""
    if (known := repeat_of(EXPORT, tenant, actor, key)) is not None:
        return known
    need(reason)
    with transaction.atomic():
        tenant = Tenant.objects.select_for_update().get(pk=tenant.pk)
        _allow(tenant)
        asked = ExportInput(tenant_id=tenant.pk)
        return started(EXPORT, asked, tenant, actor=actor, key=key, reason=reason, request_id=request_id)


def export_to_file(*, tenant: Tenant, path: Path, reason: str, actor: Actor) -> tar.Written:
    """The same into a new file, with the objects' contents. Raises StateConflict, ReasonMissing, FileExistsError, ….

    The audit entry is committed before the first byte is read: who takes a tenant's data away leaves a trace.
    """
    need(reason)
    _allow(tenant)
    with transaction.atomic():
        audit(
            AuditAction.TENANT_EXPORTED,
            actor=actor,
            object=(ObjectType.TENANT, tenant.pk),
            tenant=tenant.pk,
            personal={"reason": reason},
        )
    return tar.write(tenant, path, passport=uuid4())


def _allow(tenant: Tenant) -> None:
    """Deleted may also be one whose onboarding failed: it has nothing to export."""
    allow("export", tenant)
    if not tenant.placements.filter(active=True).exists():
        raise StateConflict(f"Tenant {tenant.slug} is {tenant.state} and owns nothing.", state=tenant.state)
