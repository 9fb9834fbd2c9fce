"""The ledger of erasures begun, which a restored backup is held against. A stand-in: the numbers alone, as yet."""

from collections.abc import Sequence

from django.db import transaction
from django.db.models import Max

from provisioning.erasure.stores import Scope
from provisioning.models import ErasureRequest


def record(scope: Scope, *, places: Sequence[str]) -> int:
    """The tombstone of a request, at the bar and before it: its number. Repeating it returns the same.

    Raises Transient while the keyring is away. Then, in the transaction that crosses the bar: `crossed(seq)`.
    """
    del places
    with transaction.atomic():
        row = ErasureRequest.objects.select_for_update(no_key=True).get(pk=scope.request_id)
        if row.tombstone is None:
            row.tombstone = (ErasureRequest.objects.aggregate(highest=Max("tombstone"))["highest"] or 0) + 1
            ErasureRequest.objects.filter(pk=row.pk).update(tombstone=row.tombstone)
        return row.tombstone


def crossed(seq: int) -> None:
    """Part of the transaction that crosses the bar: the control database has heard of this tombstone."""
    del seq


def certify(seq: int) -> int:
    """Give the erasure its second number, with its certificate. Repeating it returns the same. Then: `mark(seq)`."""
    return seq


def mark(seq: int) -> None:
    """Write the number of a certified erasure into every database it is about. Safe to repeat."""
    del seq


def places_of(scope: Scope) -> tuple[str, ...]:
    """Every database that the tenant's data was ever in."""
    del scope
    return ()
