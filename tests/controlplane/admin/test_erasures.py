"""Erasure requests in the admin: asked for in a form, proposed and approved by two people, watched to their papers."""

from __future__ import annotations

import json

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from provisioning.models import ErasureRequest, HoldArchive, RecordHold
from tenants.models import Tenant
from tests import standing_erasures as made
from tests.controlplane.admin.test_rollout_page import words
from tests.controlplane.admin.test_verbs import confirm, hidden
from tests.fleet import accepted
from tests.staff import signed_in, someone

pytestmark = pytest.mark.long

LIST = "/admin/provisioning/erasurerequest/"
VIEW = ("provisioning.view_erasurerequest", "tenants.view_tenant")
ASK, APPROVE = "provisioning.request_erasure", "provisioning.approve_erasure"


@pytest.fixture
def acme(door: None) -> Tenant:
    tenant = accepted("acme").tenant
    assert tenant is not None
    return tenant


@pytest.fixture
def alice(door: None) -> Client:
    """May ask and, by her permissions, approve as well."""
    return signed_in(someone("alice", *VIEW, ASK, APPROVE))


@pytest.fixture
def bob(door: None) -> Client:
    return signed_in(someone("bob", *VIEW, APPROVE))


def url(request: ErasureRequest, verb: str = "") -> str:
    return f"{LIST}{request.pk}/{verb}{'/' if verb else ''}"


def text(client: Client, address: str) -> str:
    page = client.get(address)
    assert page.status_code == 200, address
    return words(page.content.decode())


def ask(client: Client, **typed: str) -> ErasureRequest:
    answers = {
        "tenant": "acme",
        "scope": "tenant",
        "basis": "contract_end",
        "policy": "eu",
        "time_zone": "UTC",
        **typed,
    }
    sent = client.post(f"{LIST}request/", {**hidden(client.get(f"{LIST}request/")), **answers})
    assert sent.status_code == 302, sent.content.decode()
    return ErasureRequest.objects.latest("created_at")


def test_one_asks_and_proposes_and_only_another_approves(acme: Tenant, alice: Client, bob: Client) -> None:
    assert f"{LIST}request/?tenant=acme" in alice.get(f"/admin/tenants/tenant/{acme.pk}/").content.decode()
    request = ask(alice)
    assert "What there is in every store is being counted" in text(alice, url(request))
    made.counted(request)
    assert "48,211 of projects_project in pool_rows" not in text(alice, url(request))
    assert "keep 12 of billing_invoice: § 147 AO" in text(alice, url(request, "propose"))
    assert confirm(alice, url(request, "propose")).status_code == 302

    own = alice.get(url(request)).content.decode()
    assert "You asked for it or proposed it, so you do not approve it." in own
    assert ('id="verb-approve"' in own, ">bob<" in own) == (False, True)
    refused = confirm(alice, url(request, "approve"), typed="acme")
    assert (refused.status_code, "SAME_PERSON" in refused.content.decode()) == (409, True)

    page = text(bob, url(request, "approve"))
    assert "approve the plan sha256:" in page
    assert "48,211 of projects_project in pool_rows (delete)" in page
    assert confirm(bob, url(request, "approve"), typed="acne").status_code == 422
    assert confirm(bob, url(request, "approve"), typed="acme").status_code == 302
    request.refresh_from_db()
    assert request.state == "scheduled"
    assert bob.get(url(request, "cancel")).status_code == 403
    assert confirm(alice, url(request, "cancel"), reason="withdrawn").status_code == 302
    assert "Cancelled: withdrawn. Nothing was erased." in text(bob, url(request))


def test_a_person_is_asked_for_held_extended_and_named_nowhere(acme: Tenant, alice: Client) -> None:
    by_link = alice.get(f"{LIST}request/?tenant=acme&scope=subject&identifiers=email%3Ddana@example.org")
    assert "dana" not in by_link.content.decode()
    request = ask(alice, scope="subject", basis="consent_withdrawn", identifiers="email=dana.smith@example.org")
    evidence = "0198c1f2-b1c4-7d10-a3f0-9e6d5b7c8a21"
    assert confirm(alice, url(request, "prove_identity"), evidence=evidence).status_code == 302
    made.counted(request)
    held = {"place": "pool_rows|billing_invoice", "ground": "A lawsuit", "review_at": "2099-01-01"}
    assert confirm(alice, url(request, "hold_records"), **held).status_code == 302
    assert RecordHold.objects.get().locator == "billing_invoice"
    hold = str(RecordHold.objects.get().pk)
    assert confirm(alice, url(request, "release_records"), hold=hold).status_code == 302
    told = {"months": "2", "because": "complex", "notice_sent_at": "2026-01-01T00:00"}
    assert confirm(alice, url(request, "extend"), **told).status_code == 302
    assert confirm(alice, url(request, "reject"), reason="not_entitled").status_code == 302
    for address in (LIST, url(request), "/admin/"):
        assert "dana" not in alice.get(address).content.decode().lower()


def test_of_a_tenant_rows_are_held_and_nothing_else(acme: Tenant, alice: Client) -> None:
    request = made.counted(ask(alice))
    invoices = "eu-1:tenure/pool_1.billing_invoice"
    counted = request.counted or {}
    counted["stores"][0]["tallies"].append({**made.KEPT, "locator": invoices, "action": "delete", "ground": ""})
    ErasureRequest.objects.filter(pk=request.pk).update(counted=counted)
    page = alice.get(url(request, "hold_records")).content.decode()
    assert (page.count("<option"), invoices in page, "under a key of its own" in page) == (1, True, True)
    held = {"place": f"pool_rows|{invoices}", "record": "4711", "ground": "§ 147 AO", "review_at": "2099-01-01"}
    assert confirm(alice, url(request, "hold_records"), **held).status_code == 302
    assert f"{invoices}#4711" in text(alice, url(request))
    assert "to be moved to an archive when the tenant is erased" in text(alice, url(request))
    HoldArchive.objects.create(hold=RecordHold.objects.get(), records=1, filled_at=request.received_at)
    assert "1 in an archive under a key of its own" in text(alice, url(request))


def test_what_is_wrong_stands_at_its_field(acme: Tenant, alice: Client, bob: Client) -> None:
    page = alice.get(f"{LIST}request/")
    answers = {"tenant": "acme", "scope": "subject", "basis": "objection", "policy": "contract", "time_zone": "UTC"}
    wrong = alice.post(f"{LIST}request/", {**hidden(page), **answers, "identifiers": "email=dana.smith@example.org"})
    assert (wrong.status_code, "due by law, not by contract" in wrong.content.decode()) == (422, True)
    long = {**answers, "scope": "tenant", "policy": "eu", "grace_days": "60"}
    refused = alice.post(f"{LIST}request/", {**hidden(page), **long})
    assert (refused.status_code, "The longest grace that fits is" in refused.content.decode()) == (409, True)
    assert bob.get(f"{LIST}request/").status_code == 403
    assert ErasureRequest.objects.count() == 0


def test_a_page_shows_the_stores_at_work_and_at_last_the_papers(acme: Tenant, bob: Client) -> None:
    request = made.erasing(made.asked(acme, days_ago=60), made.person("bob"))
    page = text(bob, url(request))
    assert "overdue" in page
    assert "SERVER_UNAVAILABLE" in page
    assert "1 past the due date" in text(signed_in(someone("carol", *VIEW)), "/admin/")
    shown = bob.get(url(request)).context["live_url"]
    assert bob.get(shown).status_code == 204
    request.stores.filter(store="bucket").update(deleted=3)
    assert bob.get(shown).status_code == 200

    other = accepted("globex").tenant
    assert other is not None
    done = made.settling(made.asked(other), made.person("bob"))
    page_of = bob.get(url(done)).content.decode()
    assert "Certificate of erasure" in page_of
    papers = [f"{url(done)}certificate/{paper.row.pk}/" for paper in bob.get(url(done)).context["papers"]]
    signed = bob.get(f"{papers[0]}json/")
    assert (json.loads(signed.content)["request"], "no-store" in signed["Cache-Control"]) == (str(done.pk), True)
    assert bob.get(f"{papers[0]}pdf/").content[:5] == b"%PDF-"
    assert bob.get(f"{url(request)}certificate/{done.pk}/json/").status_code == 404


def test_a_file_makes_each_request_once_and_a_bad_row_stops_nothing(acme: Tenant, alice: Client) -> None:
    rows = (
        "tenant,scope,basis,received_at,identifiers\r\n"
        "acme,subject,objection,2026-11-01,email=dana.smith@example.org\r\n"
        "acme,subject,objection,,email=dana\r\n"
        "nobody,tenant,contract_end,,\r\n"
        "acme,subject,objection,,email=eve.jones@example.org;phone=+49 30 123456\r\n"
    )
    answers = []
    for _turn in range(2):
        file = SimpleUploadedFile("letters.csv", rows.encode())
        answers.append(alice.post(f"{LIST}import/", {"file": file}))
    became = [[each.what for each, _url in answer.context["taken"]] for answer in answers]
    assert became == [["accepted", "problem", "problem", "accepted"], ["present", "problem", "problem", "present"]]
    assert ErasureRequest.objects.count() == 2
    assert [name for name in ("dana", "eve.jones", "nobody") if name in answers[0].content.decode()] == []
