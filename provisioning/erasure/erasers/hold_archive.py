"""Erases the archives of holds that were released: the key first, which makes every copy unreadable, then the rows.

# Note [Whose turn it is]
The release opens the request that does it. Requests from before it, the one whose certificate names the records first
of all, leave the archive alone.
"""

from typing import Literal

from django.db import transaction
from django.db.models import Q

from provisioning.erasure.hold_archive import PURPOSE
from provisioning.erasure.stores import Budget, Enumeration, Kind, Lease, Progress, Scope
from provisioning.models import ArchivedRecords, DataKey, ErasureRequest, HoldArchive
from provisioning.providers import keys
from provisioning.providers.keys import keyring_errors

PARTS = 100  # in one transaction


class HoldArchiveEraser:
    """An archive whose key is gone opens for nobody: it goes as well. That is how a backup may have brought it back."""

    store = "hold_archive"
    phase = 7
    scopes: frozenset[Kind] = frozenset({"tenant"})
    reach: Literal["logical", "cryptographic", "expiry"] = "cryptographic"

    def freeze(self, scope: Scope, lease: Lease) -> None:
        """Nothing writes into an archive once it is filled."""

    def enumerate(self, scope: Scope) -> Enumeration:
        """Empty: archives are found by their holds, which stay."""
        return Enumeration(self.store, {})

    def erase(self, scope: Scope, found: Enumeration, cursor: str | None, budget: Budget, lease: Lease) -> Progress:
        """Raises KeyringUnreachable."""
        deleted = 0
        for archive in _released(scope):
            lease()
            keys.destroy_key_of(archive.pk, PURPOSE)
            while parts := list(archive.parts.order_by("part").values_list("pk", "records")[:PARTS]):
                if deleted >= budget.items:
                    return Progress(deleted)
                with transaction.atomic():
                    lease()
                    ArchivedRecords.objects.filter(pk__in=[pk for pk, _records in parts]).delete()
                deleted += sum(records for _pk, records in parts)
            with transaction.atomic():
                lease()
                archive.delete()
        return Progress(deleted, done=True)


def _released(scope: Scope) -> list[HoldArchive]:
    """See Note [Whose turn it is]."""
    archives = HoldArchive.objects.filter(hold__request__tenant=scope.tenant_id)
    with keyring_errors():
        ids = list(archives.values_list("pk", flat=True))
        dead = DataKey.objects.filter(owner_ref__in=ids, purpose=PURPOSE, state=DataKey.State.DESTROYED)
        unreadable = list(dead.values_list("owner_ref", flat=True))
    asked = ErasureRequest.objects.filter(pk=scope.request_id).values_list("created_at", flat=True).first()
    released = Q(hold__released_at__lte=asked) if asked is not None else Q(hold__released_at__isnull=False)
    return list(archives.filter(released | Q(pk__in=unreadable)))
