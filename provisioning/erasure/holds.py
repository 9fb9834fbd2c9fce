"""What a law keeps: all of a tenant's data, or single records of one request, and the requests that follow a release.

# Note [Who looks after what was erased]
A released hold has a request of its own, which looks at everything once more and has a certificate of its own. From
that certificate on it alone is looked at again on the days to come: the former one said that something stays which is
gone now. While it is at work, nobody else of its family looks.
"""

from collections.abc import Iterable
from uuid import UUID

from django.db.models import Q, QuerySet

from provisioning.erasure.errors import LegalHold as Held
from provisioning.models import ENDED_REQUESTS, ErasureRequest, LegalHold, RecordHold
from provisioning.models.erasure_states import AT_WORK


def open_holds(tenant_id: UUID) -> int:
    """How many legal holds keep the whole of a tenant."""
    return LegalHold.objects.open(tenant_id).count()


def refuse_held(request: ErasureRequest) -> None:
    """Raises errors.LegalHold while the whole tenant is held: then nobody in it is erased either."""
    if number := open_holds(request.tenant_id):
        raise Held(f"{number} legal holds keep the data of tenant {request.tenant_id}.", holds=number)


def held_records(request: ErasureRequest | UUID) -> QuerySet[RecordHold]:
    """Those that were not released, of a request or its id."""
    held: QuerySet[RecordHold] = RecordHold.objects.filter(request=request, released_at=None)
    return held.order_by("store", "locator", "record")


def releasable(request: ErasureRequest) -> QuerySet[RecordHold]:
    """Held still; or released, and the request that was to erase it was rejected or cancelled."""
    free = Q(released_at=None)
    if not request.followed_by.exclude(state__in=ENDED_REQUESTS).exists():
        free |= Q(archive__isnull=False)
    held: QuerySet[RecordHold] = RecordHold.objects.filter(free, request=request)
    return held.order_by("store", "locator", "record")


def family_of(request_id: UUID) -> set[UUID]:
    """A request, those that it follows, and those that follow any of them."""
    known: set[UUID] = set()
    fresh: Iterable[UUID] = {request_id}
    while fresh:
        known.update(fresh)
        rows = ErasureRequest.objects.filter(Q(pk__in=known) | Q(follows__in=known)).values_list("pk", "follows")
        fresh = {pk for row in rows for pk in row if pk is not None} - known
    return known


def relatives_at_work(request: ErasureRequest) -> bool:
    """Whether another of the family erases. See Note [Who looks after what was erased]."""
    others = family_of(request.pk) - {request.pk}
    return ErasureRequest.objects.filter(pk__in=others, state__in=AT_WORK).exists()
