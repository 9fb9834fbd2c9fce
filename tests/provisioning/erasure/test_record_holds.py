"""What may be held of a tenant, and what becomes of its archive when an operation dies, or is cancelled."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from examples.projects.models import Project
from provisioning.erasure import hold_archive, verbs
from provisioning.erasure.errors import HeldNowhere, InvalidErasure
from provisioning.erasure.stores import Enumeration, Scope
from provisioning.errors import Transient
from provisioning.models import ArchivedRecords, DataKey, ErasureRequest, HoldArchive, RecordHold, Resource
from provisioning.providers.keys import KeyDestroyed
from provisioning.workflows.legal_holds import place_hold
from tenants.context import tenant_scope
from tenants.models import Tenant
from tenants.states import Tier
from tests.fleet import onboarded
from tests.provisioning.erasure.small import ALICE, BOB, House, ShelfEraser, approve, blockers_of, house_of, stopped
from tests.provisioning.erasure.test_requests import replaced
from tests.provisioning.erasure.whole import know_pools_of_other_tests, stored

pytestmark = pytest.mark.long
LONG = "x" * hold_archive.PART_BYTES  # a row that fills a part
ASKED: dict[str, Any] = {"ground": "§ 147 AO", "review_at": timezone.now() + timedelta(days=900), "actor": ALICE}


@pytest.fixture
def acme(house: None) -> Tenant:
    know_pools_of_other_tests()
    tenant = onboarded("acme", Tier.POOL)
    with tenant_scope(tenant.context()):
        for name in ("first", "second"):
            Project.objects.create(name=name, description=LONG)
    Tenant.objects.filter(pk=tenant.pk).update(state="suspended")
    tenant.refresh_from_db()
    return tenant


def write() -> AbstractContextManager[None]:
    return transaction.atomic()


def alive() -> None:
    """The lease is good."""


def place_of(tenant: Tenant, table: str = "projects_project") -> str:
    placed = tenant.placements.get()
    return f"{placed.cluster.name}:{placed.database}/{placed.schema}.{table}"


def on_projects(request: ErasureRequest, **more: Any) -> RecordHold:
    asked = {"ground": "§ 147 AO", "review_at": ASKED["review_at"], "placed_by": request.requested_by}
    return RecordHold.objects.create(
        request=request, store="pool_rows", locator=place_of(request.tenant), **asked, **more
    )


def test_a_hold_that_would_keep_nothing_is_refused_or_stands_in_the_way(acme: Tenant) -> None:
    small = stored(acme)
    request = small.swept(small.asked())
    assert request.counted is not None
    ((bucket, place), *_rest) = [
        (each["store"], tally["locator"])
        for each in request.counted["stores"]
        for tally in each["tallies"]
        if each["store"] == "bucket"
    ]
    projects: dict[str, Any] = {"store": "pool_rows", "locator": place_of(acme)}
    refusals: list[tuple[dict[str, Any], str]] = [
        ({"store": bucket, "locator": place}, "locator"),
        ({"store": "pool_rows", "locator": place_of(acme, "projects_document")}, "locator"),  # there is none
        ({**projects, "record": "first"}, "record"),  # it could be a name
    ]
    for named, field in refusals:
        with pytest.raises(InvalidErasure) as refused:
            verbs.hold_records(request, **named, **ASKED, key=str(named))
        assert refused.value.metadata["field"] == field
    gone = verbs.hold_records(request, **projects, record="4711", **ASKED, key="one")
    with pytest.raises(InvalidErasure, match="held already"):
        verbs.hold_records(small.swept(request), **projects, **ASKED, key="all")
    assert (request.state, blockers_of(request)) == (
        "blocked",
        [("HOLD_FINDS_NOTHING", f"The hold on {place_of(acme)}#4711 finds nothing there.")],
    )
    verbs.release_records(gone, actor=ALICE, key="release")
    small.swept(request)
    verbs.hold_records(request, **projects, **ASKED, key="whole")
    assert small.swept(request).state == "planning"
    assert request.counted is not None
    (line,) = [each for each in request.counted["stores"] if each["store"] == "hold_archive"]
    kept = [(tally["locator"], tally["n"], tally["action"], tally["ground"]) for tally in line["tallies"]]
    assert kept == [(place_of(acme), 2, "retain", "§ 147 AO")]
    place_hold(tenant=acme, ground="court order", review_on=timezone.now().date(), actor=BOB)
    verbs.hold_records(request, **projects, **ASKED, key="counted anew")
    assert [code for code, _said in blockers_of(small.swept(request))] == ["erasure.legal_hold"]


def test_whoever_dies_while_filling_leaves_nothing_that_counts(acme: Tenant) -> None:
    request = stored(acme).asked()
    hold, leases = on_projects(request), iter((None, Transient("The worker died.")))

    def dying() -> None:
        if (error := next(leases)) is not None:
            raise error

    with pytest.raises(Transient):
        hold_archive.fill(hold, incarnation=acme.incarnation, write=write, lease=dying)
    assert (ArchivedRecords.objects.count(), hold.archived) == (1, None)
    with pytest.raises(HeldNowhere):
        hold_archive.opened(hold)
    for _again in range(2):
        assert hold_archive.fill(hold, incarnation=acme.incarnation, write=write, lease=alive) == 2
    assert (ArchivedRecords.objects.count(), hold.archived) == (2, 2)
    assert [b'"first"' in line for line in hold_archive.opened(hold)] == [True, False]
    assert not any(LONG[:100].encode() in bytes(part.sealed) for part in ArchivedRecords.objects.all())

    key = DataKey.objects.filter(owner_ref=HoldArchive.objects.get().pk)
    key.update(state="destroyed", wrapped=None, destroyed_at=timezone.now())
    with pytest.raises(KeyDestroyed):
        list(hold_archive.opened(hold))


def test_a_cancelled_operation_throws_its_archive_away(acme: Tenant, settings: Any) -> None:
    settings.TENURE_ERASURE_SOAK_S = 0
    small = house_of(acme)
    request = small.asked()
    hold = on_projects(request)
    assert cancelled_behind_the_fence(small, request, sees=lambda: hold.archived) == [2]
    assert (HoldArchive.objects.count(), ArchivedRecords.objects.count()) == (0, 0)
    assert DataKey.objects.get(purpose="hold").state == "destroyed"


def test_a_tenant_that_is_erased_gets_no_new_life_by_a_cancelled_follow_up(acme: Tenant, settings: Any) -> None:
    settings.TENURE_ERASURE_SOAK_S = 0
    small = house_of(acme)
    request = small.asked()
    Tenant.objects.filter(pk=acme.pk).update(state="erased")
    Resource.objects.filter(tenant=acme).update(handle={})
    cancelled_behind_the_fence(small, request, sees=lambda: None)
    assert not Resource.objects.filter(tenant=acme).exclude(handle={}).exists()
    acme.refresh_from_db()
    assert acme.state == "erased"


def cancelled_behind_the_fence(small: House, request: ErasureRequest, *, sees: Callable[[], Any]) -> list[Any]:
    """Approved, and called off while its stock is taken; what was seen then."""
    seen = list[Any]()

    class Cancelling(ShelfEraser):
        def enumerate(self, scope: Scope) -> Enumeration:
            seen.append(sees())
            verbs.cancel_erasure(request, reason="withdrawn", actor=ALICE, key="cancel")
            return super().enumerate(scope)

    small.swept(request)
    verbs.propose_erasure(request, actor=ALICE, key="propose")
    approve(request)
    replaced(small, Cancelling(small.shelf)).swept(request)
    assert (request.state, stopped(request)[0]) == ("cancelled", "cancelled")
    return seen
