"""Random data keys per tenant, wrapped by the master key, in the keyring database.

Each tenant has one active key, retired ones that rotation has replaced and that still open what they encrypted, and,
once it is asked for, a second key for blind indexes.

# Note [Random, not derived]
A key derived from the master key can always be derived again, so destroying it would be a claim. A random one is gone
with its wrap: finally when the keyring's own, short backups have run out.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from uuid import UUID, uuid4

from django.db import InterfaceError, OperationalError, connections, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from provisioning.engine.rows import listed
from provisioning.errors import Permanent, Transient
from provisioning.models import Claim, DataKey, Handle, ResourceKind
from tenants.context import TenantContext
from tenants.findings import Finding, Severity
from tenants.isolation import keys as seam
from tenants.isolation.crypto import KEY_BYTES, MasterKeyUnreachable, SealError, seal, unseal

PURPOSE = "tenant"
INDEX = "tenant.index"
SETTLES_IN = timedelta(seconds=2 * seam.KEPT_S)
"""After this a retired key writes nothing any more: no process knows it as the active one longer than half of that, and
no transaction of a tenant's lasts the other half."""
_FIRST = """
INSERT INTO data_key (key_id, wrapped, owner_ref, purpose, state)
SELECT wanted.*, 'active' FROM (VALUES (%s, %s, %s, %s)) AS wanted (key_id, wrapped, owner_ref, purpose)
WHERE NOT EXISTS (
    SELECT FROM data_key AS known
    WHERE known.owner_ref = wanted.owner_ref AND known.purpose = wanted.purpose AND known.state <> 'destroyed'
)
ON CONFLICT DO NOTHING
"""
_LIVING = "owner_ref = %s AND purpose = ANY (%s) AND state <> %s ORDER BY purpose, state"


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


class KeyDisabled(Permanent):
    """The tenant's data key is disabled: its data is about to be erased."""

    code = "KEY_DISABLED"
    cure = "Nothing is encrypted or opened meanwhile. If that was a mistake, an operator enables the key again."


class KeyInUse(Permanent):
    """Only a retired key is destroyed by itself, and only when nothing can be written with it any more."""

    code = "KEY_IN_USE"
    cure = "Rotate first, then encrypt the rows again with `manage.py reencrypt`."


class DataKeys:
    """The item counted is a key that can be opened: 1 for most tenants, 0 when all are destroyed or none was made."""

    kind = ResourceKind.DATA_KEY

    def plan(self, tenant: TenantContext) -> Handle:
        return {"owner_ref": str(tenant.tenant_id), "purpose": PURPOSE}

    def provision(self, tenant: TenantContext, handle: Handle, *, claim: Claim) -> None:  # noqa: ARG002
        """Insert unless there is one, observe: of two at once the unique constraint lets one win, for both."""
        with keyring_errors():
            fresh = _new(tenant.tenant_id, handle["purpose"])
            with connections["keyring"].cursor() as cursor:
                cursor.execute(_FIRST, (fresh.key_id, fresh.wrapped, fresh.owner_ref, fresh.purpose))  # type: ignore[arg-type]  # as in rows.py
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

    def count(self, tenant: TenantContext, handle: Handle) -> int:  # noqa: ARG002  every key of the tenant's
        with keyring_errors():
            return len(_living(tenant))

    def erase(self, tenant: TenantContext, handle: Handle, *, limit: int) -> int:  # noqa: ARG002
        """Destroy at most `limit` of the tenant's keys. Their rows stay, without the wrap, as evidence."""
        with keyring_errors():
            return _destroy(DataKey.objects.filter(key_id__in=[key.key_id for key in _living(tenant)[:limit]]))

    def deprovision(self, tenant: TenantContext, handle: Handle, *, claim: Claim) -> None:  # noqa: ARG002
        self.erase(tenant, handle, limit=self.count(tenant, handle))


def data_key(tenant: TenantContext, handle: Handle) -> tuple[UUID, bytes]:
    """The tenant's active key and its id. Raises KeyDestroyed, KeyDisabled, KeyUnusable or KeyringUnreachable."""
    with keyring_errors():
        found = {key.state: key for key in _usable(tenant, handle)}
        if (key := found.get(DataKey.State.ACTIVE)) is not None:
            return key.key_id, _opened(key)
    if DataKey.State.DISABLED in found:
        raise KeyDisabled(f"The data key of tenant {tenant.slug} is disabled.")
    raise KeyDestroyed(f"Tenant {tenant.slug} has no usable data key.")


def data_keys(tenant: TenantContext) -> seam.TenantKeys:
    """Every key of the tenant with its state, unwrapped where that lets it open something, and the key for indexes.

    Raises KeyUnusable or KeyringUnreachable; seam.KeyDestroyed or seam.KeyDisabled where none is active.
    """
    with keyring_errors():
        rows = DataKey.objects.filter(owner_ref=tenant.tenant_id)
        keys = [_for_scope(row) for row in rows.filter(purpose=PURPOSE)]
        seam.active_of(keys)
        if not rows.filter(purpose=INDEX).exists():  # where it was destroyed there is no other: it would find nothing
            DataKey.objects.bulk_create([_new(tenant.tenant_id, INDEX)], ignore_conflicts=True)
        return seam.TenantKeys.of(keys, seam.active_of([_for_scope(row) for row in rows.filter(purpose=INDEX)]))


def rotate(tenant: TenantContext) -> tuple[UUID, UUID]:
    """A new active key; the former one goes on opening what it encrypted. Returns the former id and the new one.

    Raises KeyDestroyed or KeyDisabled where no key is active: a new one would hide that.
    """
    fresh = _new(tenant.tenant_id, PURPOSE)
    with keyring_errors(), transaction.atomic(using="keyring"):
        former = DataKey.objects.select_for_update().filter(
            owner_ref=tenant.tenant_id, purpose=PURPOSE, state=DataKey.State.ACTIVE
        )
        if (key := former.first()) is None:
            data_key(tenant, {"purpose": PURPOSE})
            raise KeyringUnreachable("The active key was changed at the same moment.")
        former.update(state=DataKey.State.RETIRED, retired_at=Now())
        fresh.save(force_insert=True)
    return key.key_id, fresh.key_id


def destroy(tenant: TenantContext, key_id: UUID) -> None:
    """Destroy one retired key: what it encrypted can then be read by nobody. Repeating it changes nothing.

    Raises KeyInUse for a key that is not retired, or so lately that a process may still write with it.
    """
    settled = timezone.now() - SETTLES_IN
    with keyring_errors():
        key = DataKey.objects.filter(key_id=key_id, owner_ref=tenant.tenant_id, purpose=PURPOSE)
        if _destroy(key.filter(state=DataKey.State.RETIRED, retired_at__lt=settled)):
            return
        if key.filter(state=DataKey.State.RETIRED).exists():
            raise KeyInUse(
                f"Key {key_id} was retired less than {SETTLES_IN.seconds} s ago: a process may write with it still.",
                cure="Try again later.",
            )
        if not key.filter(state=DataKey.State.DESTROYED).exists():
            raise KeyInUse(f"Key {key_id} is not a retired key of tenant {tenant.slug}.")


def disable(owner_ref: UUID) -> int:
    """Nothing is encrypted or opened with the owner's keys any more, until `enable`. Returns how many there were."""
    with keyring_errors():
        keys = _of(owner_ref).filter(state__in=(DataKey.State.ACTIVE, DataKey.State.RETIRED))
        return keys.update(state=DataKey.State.DISABLED)


def enable(owner_ref: UUID) -> int:
    """Disabled keys are what they were before: retired, if they ever were, else active."""
    with keyring_errors(), transaction.atomic(using="keyring"):
        disabled = _of(owner_ref).filter(state=DataKey.State.DISABLED)
        retired_ones = disabled.filter(retired_at__isnull=False).update(state=DataKey.State.RETIRED)
        return retired_ones + disabled.update(state=DataKey.State.ACTIVE)


def shred(owner_ref: UUID) -> int:
    """Destroy all of the owner's keys, in whatever state. Returns how many there were; a repeat finds none."""
    with keyring_errors():
        return _destroy(_of(owner_ref))


def retired(tenant: TenantContext) -> list[UUID]:
    """The ids of the keys that rotation has replaced, the oldest first."""
    with keyring_errors():
        keys = DataKey.objects.filter(owner_ref=tenant.tenant_id, purpose=PURPOSE, state=DataKey.State.RETIRED)
        return list(keys.order_by("retired_at").values_list("key_id", flat=True))


def key_of(owner_ref: UUID, purpose: str) -> tuple[UUID, bytes]:
    """The one key of an owner that is no tenant, and its id; made when it is first asked for, and never again.

    Raises KeyDestroyed, KeyUnusable or KeyringUnreachable.
    """
    with keyring_errors():
        mine = DataKey.objects.filter(owner_ref=owner_ref, purpose=purpose)
        if not mine.exists():  # of two at once the partial unique constraint lets one win
            DataKey.objects.bulk_create([_new(owner_ref, purpose)], ignore_conflicts=True)
        if (key := mine.filter(state=DataKey.State.ACTIVE).first()) is None:
            raise KeyDestroyed(f"The {purpose} key of {owner_ref} was destroyed.")
        return key.key_id, _opened(key)


def destroy_key_of(owner_ref: UUID, purpose: str) -> int:
    """Destroy the keys of an owner that is no tenant; how many went. Repeating it changes nothing."""
    with keyring_errors():
        return _destroy(DataKey.objects.filter(owner_ref=owner_ref, purpose=purpose))


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
    """Keys of one purpose that can be opened or enabled again: active, retired, disabled."""
    return [key for key in _living(tenant) if key.purpose == handle["purpose"]]


def _of(owner_ref: UUID) -> QuerySet[DataKey]:
    return DataKey.objects.filter(owner_ref=owner_ref, purpose__in=(PURPOSE, INDEX))


def _living(tenant: TenantContext) -> list[DataKey]:
    return listed(DataKey, _LIVING, [tenant.tenant_id, [PURPOSE, INDEX], DataKey.State.DESTROYED], using="keyring")


def _destroy(keys: QuerySet[DataKey]) -> int:
    return keys.exclude(state=DataKey.State.DESTROYED).update(
        wrapped=None, state=DataKey.State.DESTROYED, destroyed_at=Now()
    )


def _for_scope(row: DataKey) -> seam.DataKey:
    opens = row.state in {DataKey.State.ACTIVE, DataKey.State.RETIRED}
    return seam.DataKey(row.key_id, seam.KeyState(row.state), _opened(row) if opens else None)


def _opened(key: DataKey) -> bytes:
    return unseal(bytes(key.wrapped or b""), **_bound_to(key.key_id, key.owner_ref, key.purpose))


def _new(owner_ref: UUID, purpose: str) -> DataKey:
    key_id = uuid4()
    wrapped = seal(secrets.token_bytes(KEY_BYTES), **_bound_to(key_id, owner_ref, purpose))
    return DataKey(key_id=key_id, purpose=purpose, owner_ref=owner_ref, wrapped=wrapped)


def _bound_to(key_id: UUID, owner_ref: UUID, purpose: str) -> dict[str, str]:
    """A wrap moved to another row, another tenant or another purpose does not open there."""
    return {"purpose": f"data_key.{purpose}", "owner": f"{key_id}|{owner_ref}"}
