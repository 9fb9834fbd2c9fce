"""Erasures over the API: asked for by one, approved by another, driven to a certificate; and nobody is named."""

from __future__ import annotations

import json
from datetime import timedelta
from hashlib import sha256
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.utils import timezone

from controlplane.api import limits
from controlplane.keys import BothSides, make_key
from controlplane.models import ApiKey, Scope
from provisioning.erasure.certificate import verify
from provisioning.erasure.issuing import issue
from provisioning.models import ErasureCertificate, ErasureRequest, IdempotencyKey, LegalHold
from tests.controlplane.api.conftest import Caller, caller
from tests.fleet import BILLING
from tests.provisioning.erasure.small import House, house_of, settled_acme
from tests.provisioning.erasure.test_certificate import LIVE

ASKS, DECIDES = [Scope.ERASURE_READ, Scope.ERASURE_REQUEST], [Scope.ERASURE_READ, Scope.ERASURE_APPROVE]
DANA = "dana.smith@example.org"
PERSON = {"scope": "subject", "basis": "consent_withdrawn", "identifiers": [{"kind": "email", "value": DANA}]}


@pytest.fixture
def house(control: None, settings: Any) -> House:
    settings.TENURE_ERASURE_SOAK_S = 0
    return house_of(settled_acme())


@pytest.fixture
def alice(house: House) -> Caller:
    return caller("alice", ASKS)


@pytest.fixture
def bob(house: House) -> Caller:
    return caller("bob", DECIDES)


def wish(house: House, **more: Any) -> dict[str, Any]:
    return {"scope": "tenant", "tenant": house.tenant.public_id, "grace_days": 0, **more}


def refused(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def row(answer: Any) -> ErasureRequest:
    return ErasureRequest.objects.get(pk=answer.json()["id"].removeprefix("ers_"))


def places_naming(needle: str) -> list[str]:
    """Tables of the control database with a row in which it can be read."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        found = []
        for (table,) in cursor.fetchall():
            like = [f"%{needle}%", f"%{needle.encode().hex()}%"]
            cursor.execute(f'SELECT EXISTS (SELECT FROM "{table}" t WHERE t::text ILIKE ANY (%s))', [like])
            if cursor.fetchone()[0]:
                found.append(table)
    return found


def test_a_tenant_is_erased_by_two_people_and_certified(house: House, alice: Caller, bob: Caller) -> None:
    dry = alice.post("erasure-requests?validate_only=true", wish(house), key=None).json()
    assert (dry["verb"], ErasureRequest.objects.count()) == ("erasure.request", 0)
    made = alice.post("erasure-requests", wish(house), key="a-key-of-16-characters")
    path = f"erasure-requests/{made.json()['id']}"
    assert (made.status_code, made["Location"], made.json()["state"]) == (201, f"/api/v1/{path}", "planning")
    again = alice.post("erasure-requests", wish(house), key="a-key-of-16-characters")
    assert (again.content, again["Idempotent-Replayed"]) == (made.content, "true")
    other = wish(house, basis="unlawful")
    assert refused(alice.post("erasure-requests", other, key="a-key-of-16-characters")) == (
        422,
        "IDEMPOTENCY_KEY_REUSED",
    )
    assert refused(alice.get(f"{path}/plan")) == (409, "STATE_CONFLICT")
    house.swept(row(made))
    assert alice.get(f"{path}/plan").json()["digest"] is None

    proposed = alice.post(f"{path}/propose").json()
    plan = bob.get(f"{path}/plan").json()
    assert (plan["frozen"], plan["digest"]) == (True, proposed["plan_digest"])
    assert [(tally["locator"], tally["n"], tally["action"]) for tally in plan["stores"][0]["tallies"]] == [
        ("shelf.law", 0, "retain"),
        ("shelf.top", 5, "delete"),
    ]
    body = {"plan_digest": plan["digest"]}
    own = caller("alice", DECIDES)  # another key, the same person
    assert refused(own.post(f"{path}/approve", body)) == (403, "SAME_PERSON")
    assert refused(bob.post(f"{path}/approve", {"plan_digest": "sha256:" + "0" * 64})) == (409, "PLAN_CHANGED")
    assert refused(bob.post(f"{path}/approve", body, If_Match='"1"')) == (412, "ETAG_MISMATCH")
    tried = bob.post(f"{path}/approve?validate_only=true", body, key=None).json()
    assert (tried["object"], row(made).state) == ("plan", "awaiting_approval")
    approved = bob.post(f"{path}/approve", body).json()
    assert (approved["state"], approved["approved_by"] != approved["requested_by"]) == ("scheduled", True)
    assert refused(bob.get(f"{path}/certificate")) == (409, "ERASURE_NOT_CERTIFIED")

    house.swept(row(made), passes=1)
    gone = bob.get(path).json()
    assert [(store["store"], store["planned"], store["deleted"]) for store in gone["stores"]] == [("shelf", 5, 5)]
    assert refused(alice.post(f"{path}/cancel", {"reason": "mistake"})) == (409, "STATE_CONFLICT")
    house.swept(row(made), passes=1)
    assert bob.get(path).json()["state"] == "settling"

    certified(row(made))
    signed = bob.get(f"{path}/certificate").content
    anybody = Client()
    keys, status = (anybody.get(f"/api/v1/erasure-certificates/{what}").content for what in ("keys", "status"))
    assert verify(signed, keys, status).document["request"] == str(row(made).pk)
    paper = bob.get(f"{path}/certificate", "?format=pdf")
    assert (paper["Content-Type"], paper.content[:5]) == ("application/pdf", b"%PDF-")
    assert refused(bob.get(f"{path}/certificate", "?stage=final")) == (409, "ERASURE_NOT_CERTIFIED")
    assert alice.post(f"{path}/recheck").status_code == 200


def certified(request: ErasureRequest) -> None:
    """Where the workflow over small stores issued none: their evidence is not a whole installation's."""
    if not ErasureCertificate.objects.filter(request=request.pk).exists():
        issue(LIVE, request=request.pk, stage=ErasureCertificate.Stage.LIVE, actor=BILLING)


def test_a_person_is_named_in_no_answer_and_no_row(house: House, alice: Caller, bob: Caller) -> None:
    asked = wish(house, **PERSON)
    made = alice.post("erasure-requests", asked)
    path = f"erasure-requests/{made.json()['id']}"
    assert (made.json()["state"], made.json()["identifier_kinds"]) == ("identifying", ["email"])
    assert alice.post(f"{path}/prove-identity", {"evidence": str(uuid4())}).json()["state"] == "planning"
    house.swept(row(made))
    answers = [made, alice.get(path), alice.get("erasure-requests"), alice.post(f"{path}/propose")]
    answers.append(alice.get(f"{path}/plan"))
    wrong = {
        "twisted": [{"kind": DANA, "value": "email"}],
        "as a name": [{DANA: "email"}],
        "too short": [{"kind": "email", "value": "dana"}],
        "of another kind": [{"kind": "email", "value": {DANA: 1}}],
    }
    for identifiers in wrong.values():
        answer = alice.post("erasure-requests", {**asked, "identifiers": identifiers})
        assert refused(answer) == (422, "VALIDATION_FAILED")
        answers.append(answer)
    answers.append(bob.post(f"{path}/reject", {"reason": "not_entitled"}))
    assert [answer.content for answer in answers if b"dana" in answer.content.lower()] == []
    assert places_naming("dana") == []
    assert places_naming("alice") != []  # the search would have seen it
    # Nor can what was sent be found with a dictionary of addresses.
    kept = IdempotencyKey.objects.get(status=201)
    plain = json.dumps(asked, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert bytes(kept.fingerprint) != sha256(f"POST\n/api/v1/erasure-requests\n\n{plain}".encode()).digest()


def test_what_stands_in_the_way_is_typed_and_says_what_to_do(house: House, alice: Caller, bob: Caller) -> None:
    answer = alice.post("erasure-requests", wish(house, grace_days=40))
    assert refused(answer) == (422, "DEADLINE_INFEASIBLE")
    assert answer.json()["metadata"]["longest_grace_s"] > 20 * 86_400
    assert "days and" in answer.json()["hint"]
    future = (timezone.now() + timedelta(days=2)).isoformat()
    later = alice.post("erasure-requests", wish(house, received_at=future))
    assert (refused(later), later.json()["errors"][0]["field"]) == ((422, "VALIDATION_FAILED"), "received_at")
    assert refused(alice.post("erasure-requests", wish(house, tenant=f"ten_{'0' * 32}"))) == (422, "VALIDATION_FAILED")
    made = alice.post("erasure-requests", wish(house))
    path = f"erasure-requests/{made.json()['id']}"
    house.shelf.unclassified.append("shelf.cellar")
    house.swept(row(made))
    blocked = alice.get(f"{path}/plan").json()
    assert [(each["code"], each["message"]) for each in blocked["blockers"]] == [
        ("erasure.unclassified", "Nobody erases shelf.cellar.")
    ]
    assert refused(alice.post(f"{path}/propose")) == (409, "STATE_CONFLICT")
    house.shelf.unclassified.clear()
    house.swept(row(made))
    LegalHold.objects.create(tenant=house.tenant, ground="A lawsuit", review_on=timezone.now().date(), placed_by="x")
    assert refused(alice.post(f"{path}/propose")) == (422, "LEGAL_HOLD")
    notice = {"months": 2, "reason": "complex", "notice_sent_at": timezone.now().isoformat()}
    assert alice.post(f"{path}/extend", notice).json()["extended_until"] is not None
    again = alice.post(f"{path}/extend", notice)
    assert (refused(again), again.json()["errors"][0]["field"]) == ((422, "VALIDATION_FAILED"), "months")
    assert alice.post(f"{path}/cancel", {"reason": "withdrawn"}).json()["state"] == "cancelled"
    assert refused(alice.post(f"{path}/approve")) == (403, "SCOPE_MISSING")


def test_records_that_a_law_keeps_are_held_listed_and_released(house: House, alice: Caller, bob: Caller) -> None:
    made = alice.post("erasure-requests", wish(house, **PERSON))
    path = f"erasure-requests/{made.json()['id']}"
    alice.post(f"{path}/prove-identity", {"evidence": str(uuid4())})
    review = (timezone.now() + timedelta(days=300)).isoformat()
    body = {"store": "shelf", "locator": "shelf.law", "ground": "tax law", "review_at": review}
    holds = f"{path}/record-holds"
    assert refused(alice.post(holds, body)) == (409, "STATE_CONFLICT")  # nobody has counted yet
    house.swept(row(made))
    nowhere = alice.post(holds, {**body, "locator": "shelf.lawn"})
    assert (refused(nowhere), nowhere.json()["errors"][0]["field"]) == ((422, "VALIDATION_FAILED"), "locator")
    one = alice.post(holds, {**body, "record": "4711"})  # of a whole tenant alone
    assert (refused(one), one.json()["errors"][0]["field"]) == ((422, "VALIDATION_FAILED"), "record")
    assert refused(bob.post(holds, body)) == (403, "SCOPE_MISSING")
    alice.post(f"{path}/propose")
    held = alice.post(holds, body, key="a-key-of-16-characters")
    again = alice.post(holds, body, key="a-key-of-16-characters")
    assert (held.json()["record"], held.json()["archived"]) == ("", None)
    assert (held.status_code, again.content, row(made).state) == (201, held.content, "planning")
    listed = bob.get(holds).json()
    assert (listed["results"], listed["next"]) == ([held.json()], None)
    release = f"{holds}/{held.json()['id']}/release"
    assert refused(alice.post(f"{holds}/{uuid4()}/release")) == (404, "NOT_FOUND")
    assert alice.post(release).json()["id"] == made.json()["id"]  # nothing has gone: they go with the rest
    assert bob.get(holds).json()["results"][0]["released_at"] is not None


def test_no_key_holds_both_sides(control: None) -> None:
    with pytest.raises(BothSides):
        make_key(principal="eve", name="both", scopes=[*ASKS, *DECIDES], actor=BILLING)
    key = make_key(principal="eve", name="one", scopes=ASKS, actor=BILLING).key
    with pytest.raises(IntegrityError, match="apikey_one_side_of_an_erasure"), transaction.atomic():
        ApiKey.objects.filter(pk=key.pk).update(scopes=[*key.scopes, Scope.ERASURE_APPROVE])


def test_a_key_asks_for_so_many_erasures_an_hour_and_a_repeat_is_not_one_more(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, key = caller("alice", ASKS, erasures_per_hour=2), str(uuid4())
    first = small.post("erasure-requests", wish(house), key=key)
    repeats = [small.post("erasure-requests", wish(house), key=key) for _ in range(3)]
    assert {(each.status_code, each.content) for each in repeats} == {(201, first.content)}
    assert refused(small.post("erasure-requests", wish(house, grace_days=1), key=key)) == (
        422,
        "IDEMPOTENCY_KEY_REUSED",
    )
    assert small.post("erasure-requests?validate_only=true", wish(house)).status_code == 200
    assert small.post("erasure-requests", wish(house)).json()["state"] == "merged"
    beyond = small.post("erasure-requests", wish(house))
    assert (refused(beyond), beyond.json()["metadata"]) == ((429, "RATE_LIMITED"), {"erasures_per_hour": 2})
    assert 1 <= int(beyond["Retry-After"]) <= 3600
    assert small.post("erasure-requests", wish(house), key=key)["Idempotent-Replayed"] == "true"
    assert small.get(f"erasure-requests/{first.json()['id']}").status_code == 200
    assert caller("alice", ASKS).post("erasure-requests", wish(house)).status_code == 201
    limits._valkey.cache_clear()
    monkeypatch.setattr(settings, "CACHE_URL", "redis://127.0.0.1:1/0")
    try:
        assert small.post("erasure-requests", wish(house)).status_code == 201
    finally:
        limits._valkey.cache_clear()
