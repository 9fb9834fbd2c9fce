"""A repeat gets the first answer and does nothing twice: over real HTTP, in threads, and through a crash."""

import http.client
import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier
from typing import Any

import psycopg
import pytest
from django.db import connection
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from controlplane.api import idempotency
from controlplane.models import Scope
from controlplane.stack.embedded import Stack
from controlplane.stack.ports import HOST, free_ports
from provisioning.models import IdempotencyKey, Run
from tenants.models import Event, Tenant
from tests.controlplane.api.conftest import ACME, GLOBEX, Caller, caller
from tests.live import control_plane

pytestmark = pytest.mark.long

KEY = "billing-2026-11-21-order-4711"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Server:
    port: int

    def post(self, asked: Caller, body: dict[str, Any], key: str, **headers: str) -> Answer:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=60)
        try:
            sent = {**asked.auth, "Idempotency-Key": key, "Content-Type": "application/json", **headers}
            connection.request("POST", "/api/v1/tenants", json.dumps(body), sent)
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.headers), answer.read())
        finally:
            connection.close()


@pytest.fixture
def server(billing: Caller, stack: Stack) -> Iterator[Server]:
    """Two processes of ten threads, as in production."""
    port = free_ports().web
    with control_plane(stack, port, "tests.controlplane.api.dying", "--workers", "2", "--threads", "10"):
        yield Server(port)


def test_twenty_equal_requests_at_once_are_one_tenant(server: Server, billing: Caller) -> None:
    together = Barrier(20)

    def ask(_number: int) -> Answer:
        together.wait()
        return server.post(billing, ACME, KEY)

    with ThreadPoolExecutor(20) as threads:
        answered = list(threads.map(ask, range(20)))
    statuses = Counter(answer.status for answer in answered)
    assert set(statuses) <= {202, 409}
    assert statuses[202] >= 1
    assert len({answer.body for answer in answered if answer.status == 202}) == 1
    assert {answer.json["code"] for answer in answered if answer.status == 409} <= {"IDEMPOTENCY_IN_PROGRESS"}
    assert sum("Idempotent-Replayed" not in answer.headers for answer in answered if answer.status == 202) == 1
    assert (Tenant.objects.count(), Run.objects.count()) == (1, 1)
    assert Event.objects.filter(type="tenant.created").count() == 1


def test_an_answer_lost_in_a_crash_is_given_to_the_repeat(server: Server, billing: Caller) -> None:
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        server.post(billing, ACME, KEY, **{"X-Die-Before-Answering": "yes"})
    assert (Tenant.objects.count(), Run.objects.count()) == (1, 1)
    repeat = server.post(billing, ACME, KEY)
    assert (repeat.status, repeat.headers["Idempotent-Replayed"]) == (202, "true")
    assert repeat.headers["Location"] == f"/api/v1/operations/{Run.objects.get().public_id}"
    assert repeat.json["tenant"]["id"] == Tenant.objects.get().public_id
    assert (Tenant.objects.count(), Run.objects.count()) == (1, 1)


def test_a_repeat_gets_the_first_answer_not_todays_state(billing: Caller) -> None:
    first = billing.post("tenants", ACME, key=KEY)
    Tenant.objects.filter(slug="acme").update(name="renamed meanwhile")
    repeat = billing.post("tenants", ACME, key=KEY)
    assert (repeat.status_code, repeat.content) == (202, first.content)
    assert (repeat["Location"], repeat["Idempotent-Replayed"]) == (first["Location"], "true")


def test_the_order_of_names_quotes_and_composed_letters_make_no_other_request(billing: Caller) -> None:
    first = billing.post("tenants", {**ACME, "name": "Caf\u00e9"}, key=KEY)
    turned = {"plan": "standard", "name": "Cafe\u0301", "slug": "acme"}
    repeat = billing.post("tenants", turned, key=f'"{KEY}"')
    assert (repeat.status_code, repeat.content) == (202, first.content)


def test_another_body_under_the_key_is_refused(billing: Caller) -> None:
    billing.post("tenants", ACME, key=KEY)
    other = billing.post("tenants", GLOBEX, key=KEY)
    assert (other.status_code, other.json()["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert list(Tenant.objects.values_list("slug", flat=True)) == ["acme"]


def test_another_path_under_the_key_is_refused(billing: Caller) -> None:
    made = billing.post("tenants", ACME, key=KEY).json()
    other = billing.post(f"operations/{made['operation']['id']}/cancel", {"reason": "a mistake"}, key=KEY)
    assert (other.status_code, other.json()["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert Run.objects.get().state == "queued"


def test_two_principals_may_use_the_same_key(billing: Caller) -> None:
    shop = caller("shop")
    assert billing.post("tenants", ACME, key=KEY).json()["tenant"]["slug"] == "acme"
    answer = shop.post("tenants", GLOBEX, key=KEY)
    assert (answer.status_code, answer.json()["tenant"]["slug"]) == (202, "globex")


def test_an_owner_may_exchange_its_key_and_still_repeat(billing: Caller) -> None:
    first = billing.post("tenants", ACME, key=KEY)
    repeat = caller("billing").post("tenants", ACME, key=KEY)
    assert (repeat.status_code, repeat.content) == (202, first.content)


def test_a_refused_request_leaves_its_key_usable(billing: Caller) -> None:
    assert billing.post("tenants", {**ACME, "plan": "golden"}, key=KEY).status_code == 422
    assert IdempotencyKey.objects.count() == 0
    assert billing.post("tenants", ACME, key=KEY).status_code == 202


def test_a_key_that_is_still_in_flight_is_a_conflict_with_a_time_to_wait(
    billing: Caller, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "LOCK_WAIT", "100ms")
    with psycopg.connect(stack.environment["DATABASE_URL"]) as first:
        first.execute(
            "INSERT INTO provisioning_idempotencykey (principal, key, fingerprint, status, headers, body, expires_at)"
            " VALUES ('billing', %s, '', 0, '{}', '', now())",
            [KEY],
        )
        answer = billing.post("tenants", ACME, key=KEY)
        first.rollback()
    assert (answer.status_code, answer.json()["code"], answer["Retry-After"]) == (409, "IDEMPOTENCY_IN_PROGRESS", "2")
    assert billing.post("tenants", ACME, key=KEY).status_code == 202


def test_a_key_that_is_missing_or_cannot_be_used_is_said_so(billing: Caller) -> None:
    for key in ("short", "k" * 256, "with a space in it", "umläut-umläut-umläut"):
        answer = billing.post("tenants", ACME, key=key)
        assert (answer.status_code, answer.json()["code"]) == (400, "IDEMPOTENCY_KEY_INVALID"), key
    answer = billing.post("tenants", ACME, key=None)
    assert (answer.status_code, answer.json()["code"]) == (400, "IDEMPOTENCY_KEY_MISSING")


def test_scope_comes_before_the_key_and_the_key_before_the_body(billing: Caller) -> None:
    reader = caller("shop", [Scope.TENANTS_READ])
    assert reader.post("tenants", {}, key=None).json()["code"] == "SCOPE_MISSING"
    assert billing.post("tenants", {}, key=None).json()["code"] == "IDEMPOTENCY_KEY_MISSING"


def test_a_verb_with_a_key_acts_once(billing: Caller) -> None:
    made = billing.post("tenants", ACME).json()
    verb = f"operations/{made['operation']['id']}/cancel"
    first = billing.post(verb, {"reason": "a mistake"}, key=KEY)
    repeat = billing.post(verb, {"reason": "a mistake"}, key=KEY)
    assert (first.status_code, first.json()["state"]) == (200, "cancelled")
    assert (repeat.status_code, repeat.content) == (200, first.content)
    assert billing.post(verb, {"reason": "a mistake"}).status_code == 409


def test_the_wait_for_a_key_does_not_bound_the_work_itself(billing: Caller) -> None:
    """lock_timeout is set for one statement; inside the work it is what it was before."""
    seen = []

    def do() -> idempotency.Answer:
        with connection.cursor() as cursor:
            cursor.execute("SHOW lock_timeout")
            seen.append(cursor.fetchone()[0])
        return idempotency.Answer(200, {})

    request = Request(APIRequestFactory().post("/api/v1/tenants"))
    request.auth = billing.key.key
    idempotency.once(request, key=KEY, do=do)
    assert seen == ["0"]
