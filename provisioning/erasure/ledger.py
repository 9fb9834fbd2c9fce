"""The ledger of erasures begun, which a restored backup is held against. A stand-in: the numbers alone, as yet."""

from uuid import UUID

from django.db import transaction
from django.db.models import Max

from provisioning.models import ErasureRequest


def record(request_id: UUID, *, scope: str, tenant_id: UUID, incarnation: UUID, reference: bytes | None) -> int:
    """Write a tombstone before anything is destroyed; its number. The same request again: the same number.

    `scope` is "tenant" or "subject", `reference` a subject's keyed hash. Raises Transient while the keyring is away.
    """
    del scope, tenant_id, incarnation, reference
    known = ErasureRequest.objects.filter(pk=request_id).values_list("tombstone", flat=True).get()
    if known is not None:
        return known
    with transaction.atomic():
        highest = ErasureRequest.objects.aggregate(highest=Max("tombstone"))["highest"] or 0
        ErasureRequest.objects.filter(pk=request_id, tombstone=None).update(tombstone=highest + 1)
    return ErasureRequest.objects.values_list("tombstone", flat=True).get(pk=request_id) or 0


def void(request_id: UUID) -> None:
    """The bar of this tombstone was never crossed: a numbered successor says so."""
    del request_id


def certify(request_id: UUID) -> int:
    """Its erasure has a live certificate; the number by which restored databases are told apart."""
    return ErasureRequest.objects.values_list("tombstone", flat=True).get(pk=request_id) or 0
