"""What a law keeps: all of a tenant's data, or single records of one request.

Tenants' holds are another package's rows; `open_holds` asks for them through one seam, as verbs below workflows must.
"""

from collections.abc import Callable, Iterable
from uuid import UUID

from provisioning.erasure.errors import LegalHold
from provisioning.models import ErasureRequest, RecordHold


def none_open(_tenant_id: UUID) -> int:
    return 0


open_holds: Callable[[UUID], int] = none_open
"""How many legal holds keep the whole of a tenant."""


def refuse_held(request: ErasureRequest) -> None:
    """Raises LegalHold while the whole tenant is held: then nobody in it is erased either."""
    if number := open_holds(request.tenant_id):
        raise LegalHold(f"Tenant {request.tenant_id} is held.", holds=number)


def held_records(request: ErasureRequest) -> Iterable[RecordHold]:
    """Those that were not released."""
    return RecordHold.objects.filter(request=request, released_at=None).order_by("store", "locator")
