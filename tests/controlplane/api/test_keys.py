"""Who gets in, with what scope, and how often."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from redis import Redis

from controlplane.api import limits
from controlplane.keys import WIDEST, BadLifetime, NewKey, UnknownScope, key_of, make_key, revoke_key
from controlplane.models import ApiKey, Scope
from tests.controlplane.api.conftest import ACME, Caller, caller
from tests.fleet import BILLING


def new_key(**more: Any) -> NewKey:
    return make_key(**{"principal": "billing", "name": "a key", "scopes": WIDEST, "actor": BILLING, **more})


def ask(token: str) -> Any:
    return Client().get("/api/v1/tenants", headers={"Authorization": f"Bearer {token}"})


def test_a_key_opens_the_door_and_its_secret_is_nowhere(control: None) -> None:
    made = new_key()
    assert ask(made.token).status_code == 200
    secret = made.token.rpartition("_")[2]
    assert secret not in repr(made) + repr(made.key.__dict__)
    with connection.cursor() as cursor:
        cursor.execute("SELECT row_to_json(k)::text FROM controlplane_apikey k")
        assert secret not in cursor.fetchone()[0]


def test_unknown_wrong_expired_and_revoked_keys_look_alike(control: None) -> None:
    expired, revoked, known = new_key(), new_key(), new_key()
    ApiKey.objects.filter(pk=expired.key.pk).update(expires_at=timezone.now())
    revoke_key(key=revoked.key, actor=BILLING)
    wrong = known.token[:-1] + ("0" if known.token[-1] != "0" else "1")
    unknown = f"tnr_{'0' * 32}_{'0' * 64}"
    answers = [ask(token) for token in (expired.token, revoked.token, wrong, unknown, "tnr_x_y", "é", "")]
    assert {answer.status_code for answer in answers} == {401}
    assert len({(a.json()["detail"], a.json()["hint"], a["WWW-Authenticate"]) for a in answers}) == 1


def test_without_a_key_nobody_gets_in_whatever_the_path_asks(control: None) -> None:
    for path in ("tenants", "tenants/ten_x", "operations", "plans"):
        answer = Client().get(f"/api/v1/{path}")
        assert (answer.status_code, answer.json()["code"]) == (401, "NOT_AUTHENTICATED")
    assert Client().get("/api/v1/tenants", headers={"Authorization": "Basic dGVudXJl"}).status_code == 401


def test_revoking_works_from_the_next_request_on_and_keeps_the_first_date(control: None) -> None:
    made = new_key()
    assert ask(made.token).status_code == 200
    revoke_key(key=made.key, actor=BILLING)
    first = made.key.revoked_at
    assert ask(made.token).status_code == 401
    revoke_key(key=made.key, actor=BILLING)
    assert made.key.revoked_at == first


def test_the_last_use_is_written_once_a_minute_at_most(control: None) -> None:
    made = new_key()
    assert key_of(made.token) is not None
    used = ApiKey.objects.get().last_used_at
    assert used is not None
    with CaptureQueriesContext(connection) as asked:
        assert key_of(made.token) is not None
    assert len(asked) == 1
    ApiKey.objects.update(last_used_at=used - timedelta(minutes=2))
    assert key_of(made.token) is not None
    again = ApiKey.objects.get().last_used_at
    assert again is not None
    assert again >= used


NEEDS = [
    ("get", "tenants", Scope.TENANTS_READ),
    ("get", "operations/op_x", Scope.TENANTS_READ),
    ("post", "tenants", Scope.TENANTS_WRITE),
    ("patch", "tenants/ten_x", Scope.TENANTS_WRITE),
    ("post", "tenants/ten_x/retry", Scope.TENANTS_WRITE),
    ("post", "tenants/ten_x/credentials", Scope.TENANTS_CREDENTIALS),
    ("post", "tenants/ten_x/data-keys", Scope.TENANTS_KEYS),
    ("post", "tenants/ten_x/tokens", Scope.TENANTS_TOKENS),
    ("post", "tenants/ten_x/rotate-credentials", Scope.TENANTS_WRITE),
    ("post", "operations/op_x/cancel", Scope.OPERATIONS_WRITE),
    ("get", "rollouts/rol_x/targets", Scope.ROLLOUTS_READ),
    ("post", "rollouts", Scope.ROLLOUTS_WRITE),
    ("post", "rollouts/rol_x/targets/ten_x/skip", Scope.ROLLOUTS_WRITE),
    ("post", "rollouts/rol_x/approve", Scope.ROLLOUTS_APPROVE),
    ("get", "erasure-requests/ers_x/certificate", Scope.ERASURE_READ),
    ("post", "erasure-requests", Scope.ERASURE_REQUEST),
    ("post", "erasure-requests/ers_x/cancel", Scope.ERASURE_REQUEST),
    ("post", "erasure-requests/ers_x/record-holds", Scope.ERASURE_REQUEST),
    ("post", "erasure-requests/ers_x/approve", Scope.ERASURE_APPROVE),
    ("post", "erasure-requests/ers_x/reject", Scope.ERASURE_APPROVE),
]


def test_a_key_needs_the_scope_of_what_it_asks(control: None) -> None:
    lacking = {scope: new_key(scopes=[one for one in WIDEST if one != scope]).token for scope in Scope}
    for method, path, scope in NEEDS:
        answer = getattr(Client(), method)(f"/api/v1/{path}", headers={"Authorization": f"Bearer {lacking[scope]}"})
        assert (answer.status_code, answer.json()["code"]) == (403, "SCOPE_MISSING"), path
        assert answer.json()["metadata"] == {"scope": scope}


def test_reads_and_writes_are_limited_by_the_minute_and_key(billing: Caller) -> None:
    small = caller(reads_per_minute=3, writes_per_minute=1)
    assert [small.get("tiers").status_code for _ in range(4)] == [200, 200, 200, 429]
    refused = small.get("tiers")
    assert refused.json()["code"] == "RATE_LIMITED"
    assert 1 <= int(refused["Retry-After"]) <= 60
    assert small.post("tenants", ACME).status_code == 202
    assert small.post("tenants", ACME).status_code == 429
    assert billing.get("tiers").status_code == 200


def test_no_request_is_lost_in_counting(billing: Caller) -> None:
    """Read, change, write would lose counts under load; one atomic step does not."""
    with ThreadPoolExecutor(8) as threads:
        counted = list(threads.map(limits.count, ["a subject"] * 200))
    assert sorted(counted) == list(range(1, 201)) or max(counted) < 200  # the minute may turn in between
    assert len(set(counted)) == 200 or max(counted) < 200


def test_counters_are_the_platforms_by_name(billing: Caller) -> None:
    """`t_…` is a tenant's part of the same server, `p:` ours."""
    limits.count("a subject")
    with Redis.from_url(settings.CACHE_URL) as valkey:
        (name,) = (each.decode() for each in valkey.scan_iter("*:a subject:*"))
    assert re.fullmatch(r"p:limit:1:a subject:\d+", name)


def test_failed_authentications_of_an_address_are_limited_but_its_keys_still_work(billing: Caller) -> None:
    answers = [ask("tnr_wrong").status_code for _ in range(25)]
    assert answers == [401] * 20 + [429] * 5
    assert billing.get("tenants").status_code == 200


def test_requests_pass_when_valkey_is_away(
    billing: Caller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A closed port: real refusals, and after the first one silence for some seconds."""
    limits._valkey.cache_clear()
    monkeypatch.setattr(settings, "CACHE_URL", "redis://127.0.0.1:1/0")
    try:
        small = caller(reads_per_minute=1)
        assert [small.get("tiers").status_code for _ in range(3)] == [200, 200, 200]
        assert small.post("tenants", ACME).status_code == 202
    finally:
        limits._valkey.cache_clear()
    assert sum("api.uncounted" in record.getMessage() for record in caplog.records) == 1


def test_keys_are_made_with_known_scopes_and_a_life_of_a_year_at_most(control: None) -> None:
    with pytest.raises(UnknownScope):
        new_key(scopes=["tenants:*"])
    with pytest.raises(UnknownScope):
        new_key(scopes=[])
    with pytest.raises(BadLifetime):
        new_key(days=366)
    with pytest.raises(BadLifetime):
        new_key(days=0)
    made = new_key(days=365).key
    with pytest.raises(IntegrityError), transaction.atomic():
        ApiKey.objects.filter(pk=made.pk).update(expires_at=timezone.now() + timedelta(days=400))
    with pytest.raises(IntegrityError), transaction.atomic():
        ApiKey.objects.filter(pk=made.pk).update(scopes=["everything"])


def test_the_command_makes_a_key_shows_it_once_and_revokes_it(control: None) -> None:
    out, shown = StringIO(), StringIO()
    call_command("api_key", "billing", "--scope", "tenants:read", "--days", "30", stdout=out, stderr=shown)
    token = out.getvalue().strip()
    assert ask(token).status_code == 200
    key = ApiKey.objects.get()
    assert (key.name, key.scopes) == ("billing", ["tenants:read"])
    assert key.public_id in shown.getvalue()
    assert token not in shown.getvalue()
    call_command("api_key", "--revoke", key.public_id, stdout=StringIO())
    assert ask(token).status_code == 401


def test_the_command_says_what_is_wrong(control: None) -> None:
    with pytest.raises(CommandError, match="what the key is for"):
        call_command("api_key")
    with pytest.raises(CommandError, match="There is no key key_0"):
        call_command("api_key", "--revoke", "key_0")
    with pytest.raises(CommandError, match="1 to 365 days"):
        call_command("api_key", "billing", "--days", "1000")
