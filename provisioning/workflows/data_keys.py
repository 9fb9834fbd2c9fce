"""A tenant's data keys: handed out to its application, rotated, and destroyed once no row names them."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction

from provisioning.providers import keys as keyring
from provisioning.workflows.accepting import allow, as_uuid, need
from tenants.audit import Actor, AuditAction, ObjectType, Outcome, typed
from tenants.audit import write as audit
from tenants.context import TenantContext, tenant_scope
from tenants.isolation import keys as seam
from tenants.isolation.reencryption import named_keys
from tenants.models import Tenant


def hand_out_data_keys(*, tenant: Tenant, actor: Actor, request_id: str = "") -> seam.TenantKeys:
    """The keys that open an active tenant's encrypted fields. Raises StateConflict, KeyDestroyed, KeyDisabled.

    The audit entry is committed before the caller sees a key: a hand-out without a trace is what must not happen.
    """
    allow("credentials", tenant)
    found = keyring.data_keys(tenant.context())
    with transaction.atomic():
        audit(
            AuditAction.DATA_KEYS_HANDED_OUT,
            actor=actor,
            object=(ObjectType.TENANT, tenant.pk),
            tenant=tenant.pk,
            request=as_uuid(request_id),
            keys=[key.id for key in (*found.keys.values(), found.index) if key.key is not None],
        )
    return found


def rotate_data_key(*, tenant: Tenant, reason: str, actor: Actor, request_id: str = "") -> UUID:
    """A new key for what is written from now on; the former one still opens what it encrypted. Returns the new id.

    An application knows of it within five minutes. Raises StateConflict, ReasonMissing, KeyDestroyed, KeyDisabled.
    """
    need(reason)
    with transaction.atomic():
        tenant = Tenant.objects.select_for_update().get(pk=tenant.pk)
        allow("credentials", tenant)
        former, fresh = keyring.rotate(tenant.context())
        audit(
            AuditAction.DATA_KEY_ROTATED,
            actor=actor,
            object=(ObjectType.DATA_KEY, fresh),
            tenant=tenant.pk,
            request=as_uuid(request_id),
            keys=(former, fresh),
            personal=typed(actor, reason),
        )
    seam.forget()
    return fresh


def destroy_data_key(*, tenant: Tenant, key_id: UUID, actor: Actor, request_id: str = "") -> None:
    """Destroy a retired key that no row names: counted now, as the tenant's own role. Raises KeyInUse."""
    context = tenant.context()
    with tenant_scope(context):
        left = named_keys()[key_id]
    if left:
        raise keyring.KeyInUse(
            f"{left} encrypted values of tenant {tenant.slug} name key {key_id}.",
            cure="Encrypt them again with `manage.py reencrypt`, then try again.",
            rows=left,
        )
    _tell(Outcome.REQUESTED, tenant, key_id, actor, request_id)  # before it: what cannot be undone is never untold
    keyring.destroy(context, key_id)
    _tell(Outcome.DONE, tenant, key_id, actor, request_id)
    seam.forget()


def retired_data_keys(*, tenant: Tenant) -> list[UUID]:
    """What rotation has replaced and is not destroyed yet, the oldest first."""
    return keyring.retired(tenant.context())


def _tell(outcome: Outcome, tenant: Tenant, key_id: UUID, actor: Actor, request_id: str) -> None:
    with transaction.atomic():
        audit(
            AuditAction.DATA_KEY_DESTROYED,
            actor=actor,
            object=(ObjectType.DATA_KEY, key_id),
            outcome=outcome,
            tenant=tenant.pk,
            request=as_uuid(request_id),
            keys=(key_id,),
        )


class InProcess:
    """The source of data keys for the control plane's own code in a tenant's scope. Nobody is handed anything."""

    def data_keys(self, context: TenantContext) -> seam.TenantKeys:
        return keyring.data_keys(context)
