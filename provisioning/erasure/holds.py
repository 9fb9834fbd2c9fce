"""What a law keeps: all of a tenant's data, or single records of one request."""

from uuid import UUID

from django.db.models import QuerySet

from provisioning.erasure.errors import LegalHold as Held
from provisioning.models import ErasureRequest, LegalHold, RecordHold


def open_holds(tenant_id: UUID) -> int:
    """How many legal holds keep the whole of a tenant."""
    return LegalHold.objects.open(tenant_id).count()


def refuse_held(request: ErasureRequest) -> None:
    """Raises errors.LegalHold while the whole tenant is held: then nobody in it is erased either."""
    if number := open_holds(request.tenant_id):
        raise Held(f"{number} legal holds keep the data of tenant {request.tenant_id}.", holds=number)


def held_records(request: ErasureRequest) -> QuerySet[RecordHold]:
    """Those that were not released."""
    held: QuerySet[RecordHold] = RecordHold.objects.filter(request=request, released_at=None)
    return held.order_by("store", "locator")
