"""One random data key per tenant, wrapped by the master key, in the keyring database.

# Note [Random, not derived]
A key derived from the master key can always be derived again, so destroying it would be a claim. A random one is gone
with its wrap: finally when the keyring's own, short backups have run out.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID, uuid4

from django.db import InterfaceError, OperationalError
from django.db.models.functions import Now

from provisioning.errors import Permanent, Transient
from provisioning.models import Claim, DataKey, Handle, ResourceKind
from tenants.context import TenantContext
from tenants.findings import Finding, Severity
from tenants.isolation.crypto import KEY_BYTES, MasterKeyUnreachable, SealError, seal, unseal

PURPOSE = "tenant"


class KeyringUnreachable(Transient):
    """The keyring database, or the master key in AWS KMS, does not answer."""

    code = "KEYRING_UNREACHABLE"


class KeyUnusable(Permanent):
    """The master key does not open a data key."""

    code = "DATA_KEY_UNUSABLE"


class KeyDestroyed(Permanent):
    """The tenant's data key was destroyed: what it encrypted cannot be read any more, by anybody."""

    code = "KEY_DESTROYED"
    cure = "Nothing brings it back; that is its purpose."


class DataKeys:
    """The item counted is the key itself: 1 while it can be opened, 0 when it is destroyed or was never made."""

    kind = ResourceKind.DATA_KEY

    def plan(self, tenant: TenantContext) -> Handle:
        return {"owner_ref": str(tenant.tenant_id), "purpose": PURPOSE}

    def provision(self, tenant: TenantContext, handle: Handle, *, claim: Claim) -> None:  # noqa: ARG002
        """Observe, insert, observe: of two at once the partial unique constraint lets one win, and both agree on it."""
        with keyring_errors():
            if not _usable(tenant, handle):
                key_id, owner_ref = uuid4(), tenant.tenant_id
                wrapped = _wrap(secrets.token_bytes(KEY_BYTES), key_id, owner_ref)
                key = DataKey(key_id=key_id, purpose=PURPOSE, owner_ref=owner_ref, wrapped=wrapped)
                DataKey.objects.bulk_create([key], ignore_conflicts=True)
            data_key(tenant, handle)

    def verify(self, tenant: TenantContext, handle: Handle) -> Iterator[Finding]:
        subject = f"data key of {tenant.slug}"
        again = "Run the onboarding step `keys` again if nothing was encrypted with it yet; else restore the keyring."
        try:
            with keyring_errors():
                data_key(tenant, handle)
        except KeyDestroyed as error:
            yield Finding("key.missing", Severity.CRITICAL, subject, "There is no usable data key.", error.cure)
        except KeyUnusable as error:
            yield Finding("key.unusable", Severity.CRITICAL, subject, str(error), error.cure or again)

    def count(self, tenant: TenantContext, handle: Handle) -> int:
        with keyring_errors():
            return len(_usable(tenant, handle))

    def erase(self, tenant: TenantContext, handle: Handle, *, limit: int) -> int:
        """Destroy at most `limit` of the tenant's keys. Their rows stay, without the wrap, as evidence."""
        with keyring_errors():
            doomed = [key.key_id for key in _usable(tenant, handle)[:limit]]
            return DataKey.objects.filter(key_id__in=doomed).update(
                wrapped=None, state=DataKey.State.DESTROYED, destroyed_at=Now()
            )

    def deprovision(self, tenant: TenantContext, handle: Handle, *, claim: Claim) -> None:  # noqa: ARG002
        self.erase(tenant, handle, limit=self.count(tenant, handle))


def data_key(tenant: TenantContext, handle: Handle) -> tuple[UUID, bytes]:
    """The tenant's key and its id, unwrapped. Raises KeyDestroyed, KeyUnusable or KeyringUnreachable."""
    with keyring_errors():
        for key in _usable(tenant, handle):
            return key.key_id, unseal(bytes(key.wrapped or b""), **_bound_to(key.key_id, key.owner_ref))
    raise KeyDestroyed(f"Tenant {tenant.slug} has no usable data key.")


@contextmanager
def keyring_errors() -> Iterator[None]:
    """Silence of the database or of KMS is Transient; a key that does not open is Permanent, with the cure."""
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise KeyringUnreachable("The keyring database (KEYRING_URL) does not answer.") from error
    except MasterKeyUnreachable as error:
        raise KeyringUnreachable(str(error)) from error
    except SealError as error:
        raise KeyUnusable(str(error), cure=error.cure) from error


def _usable(tenant: TenantContext, handle: Handle) -> list[DataKey]:
    keys = DataKey.objects.filter(owner_ref=tenant.tenant_id, purpose=handle["purpose"])
    return list(keys.exclude(state=DataKey.State.DESTROYED).order_by("state"))  # "active" sorts before "disabled"


def _wrap(key: bytes, key_id: UUID, owner_ref: UUID) -> bytes:
    return seal(key, **_bound_to(key_id, owner_ref))


def _bound_to(key_id: UUID, owner_ref: UUID) -> dict[str, str]:
    """A wrap moved to another row, another tenant or another purpose does not open there."""
    return {"purpose": f"data_key.{PURPOSE}", "owner": f"{key_id}|{owner_ref}"}
