"""A law keeps one row of a tenant that is erased: in an archive under a key of its own, until the hold is released."""

from __future__ import annotations

import json
import random
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.utils import timezone

from controlplane.stack.embedded import Stack
from examples.projects.models import Document
from provisioning import lifecycle
from provisioning.erasure import verbs
from provisioning.erasure.certificate import verify
from provisioning.erasure.errors import HeldNowhere
from provisioning.erasure.issuing import public_key, status_list
from provisioning.models import ArchivedRecords, DataKey, ErasureCertificate, ErasureRequest, HoldArchive, RecordHold
from tenants.actions import Actor
from tenants.context import tenant_scope
from tenants.models import AuditEntry
from tenants.states import Tier
from tests.provisioning.erasure.small import ALICE, BOB, House, approve
from tests.provisioning.erasure.whole import NOT_COVERED, filled, found_of, settled, stored

CAROL = Actor("user", "7", "carol")
STORES = {Tier.POOL: "pool_rows", Tier.SCHEMA: "schema", Tier.DATABASE: "database"}
pytestmark = pytest.mark.drawn(1, among="whole erasures")
REVIEW = timezone.now() + timedelta(days=3_650)


@pytest.fixture(autouse=True)
def no_soak(house: None, settings: Any) -> None:
    settings.TENURE_ERASURE_SOAK_S = 0


def test_one_row_is_kept_under_its_own_key_until_it_is_released(stack: Stack, tmp_path: Path) -> None:
    tier = random.choice(list(Tier))  # by the seed of the run
    acme = filled("acme-held-gmbh", tier)
    with tenant_scope(acme.context()):
        first = Document.objects.get()
        Document.objects.create(project=first.project, title="another paper", size=1)
    small = stored(acme)
    request = small.swept(small.asked())
    hold = held(request, STORES[tier], ".projects_document", record=str(first.pk))
    papers = proposed_and_settled(small, request)

    (kept,) = papers["retained"]
    assert (kept["locator"], kept["n"], kept["ground"]) == (f"hold_archive:{hold.place}", 1, "§ 147 AO")
    assert (kept["until"][:10], line(papers)) == (f"{hold.review_at:%F}", (1, 0, 1, 1))
    assert {place for place, _word in found_of(stack, ("acme-held-gmbh", "another paper"))} <= NOT_COVERED
    file = tmp_path / "kept.ndjson"
    said = StringIO()
    call_command("held_records", "list", request.public_id, stdout=said)
    call_command("held_records", "open", str(hold.pk), to=file, stdout=said)
    assert [f"{hold.place}  1 archived" in said.getvalue(), f"{file}: 1 records." in said.getvalue()] == [True, True]
    assert json.loads(file.read_text())["title"] == "acme-held-gmbh paper"
    assert AuditEntry.objects.filter(public__action="records.opened", public__object_id=str(request.pk)).exists()
    request = small.swept(rechecked(request))
    assert request.state == "settling"

    follow = verbs.release_records(hold, actor=ALICE, key="release")
    assert (follow.follows_id, follow.due_at) == (request.pk, request.due_at)
    assert small.swept(rechecked(request)).state == "settling"  # its certificate is true until the other is at work
    last = proposed_and_settled(small, small.swept(follow))
    assert (last["retained"], last["supersedes"], line(last)) == ([], papers["id"], (1, 1, 0, 0))
    request.refresh_from_db()
    assert (request.state, request.key_destroyed_at is None) == ("completed", False)
    assert ErasureCertificate.objects.get(pk=papers["id"]).state == "superseded"
    assert not HoldArchive.objects.exists()
    assert not ArchivedRecords.objects.exists()
    assert not DataKey.objects.filter(purpose="hold").exclude(state="destroyed").exists()
    with pytest.raises(HeldNowhere):
        lifecycle.open_records(hold, path=tmp_path / "gone", actor=BOB)


def held(request: ErasureRequest, store: str, ending: str, **more: Any) -> RecordHold:
    assert request.counted is not None
    stores = {each["store"]: each["tallies"] for each in request.counted["stores"]}
    (locator,) = [tally["locator"] for tally in stores[store] if tally["locator"].endswith(ending)]
    return verbs.hold_records(
        request,
        store=store,
        locator=locator,
        ground="§ 147 AO",
        review_at=REVIEW,
        actor=ALICE,
        key=str(uuid4()),
        **more,
    )


def proposed_and_settled(small: House, request: ErasureRequest) -> dict[str, Any]:
    """Through to its live certificate."""
    small.swept(request)
    assert request.state == "planning", request.counted and request.counted["blockers"]
    approve(verbs.propose_erasure(request, actor=BOB, key=str(uuid4())), by=CAROL)
    settled(small, request)
    return dict(verify(paper_of(request), public_key(), status_list()).document)


def paper_of(request: ErasureRequest) -> bytes:
    return ErasureCertificate.objects.filter(request=request.pk).latest("issued_at").document.encode()


def rechecked(request: ErasureRequest) -> ErasureRequest:
    verbs.recheck_erasure(request, actor=BOB, key=str(uuid4()))
    return request


def line(papers: dict[str, Any]) -> tuple[int, ...]:
    (found,) = [each for each in papers["stores"] if each["store"] == "hold_archive"]
    return tuple(found[name] for name in ("planned", "deleted", "retained", "remaining"))
