"""What an application asks for while it works for a tenant: data keys and tokens, over the API."""

import base64
import json
from datetime import timedelta
from io import StringIO
from typing import Any

import jwt
import pytest
from django.core.management import call_command
from django.db import connections
from django.test import Client
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from provisioning.models import DataKey, IdempotencyKey, SigningKey
from tenants.models import Tenant
from tenants.placement import public_id
from tenants.states import TenantState
from tests.controlplane.api.conftest import Caller, caller
from tests.pair import Pair

WISH = {"subject": "member-4711", "scopes": ["projects:read", "projects:write"]}


@pytest.fixture
def site(changing_pair: Pair) -> Caller:
    return caller()


@pytest.fixture
def acme(changing_pair: Pair) -> str:
    return f"tenants/{public_id('ten', changing_pair.acme.tenant_id)}"


def stored() -> str:
    """Every row of the control and keyring databases, as text."""
    found = []
    for alias in ("default", "keyring"):
        with connections[alias].cursor() as cursor:
            for table in connections[alias].introspection.table_names(cursor):
                cursor.execute(f"SELECT coalesce(string_agg(row::text, chr(10)), '') FROM \"{table}\" row")
                found.append(cursor.fetchone()[0])
    return "\n".join(found)


def entries(action: str) -> list[dict[str, Any]]:
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT body FROM audit_entry WHERE body LIKE %s ORDER BY seq", [f'%"{action}"%'])
        return [json.loads(body) for (body,) in cursor.fetchall()]


class TestTokens:
    def test_a_token_is_for_one_tenant_one_subject_and_a_quarter_of_an_hour(
        self, site: Caller, acme: str, changing_pair: Pair
    ) -> None:
        answer = site.post(f"{acme}/tokens", WISH)
        given = answer.json()
        assert (answer.status_code, answer["Cache-Control"], given["token_type"]) == (200, "no-store", "Bearer")
        claims = jwt.decode(given["access_token"], options={"verify_signature": False})
        issued = claims["iat"]
        assert claims == {
            "iss": "tenure",
            "aud": "tenant-application",
            "sub": "member-4711",
            "iat": issued,
            "nbf": issued,
            "exp": issued + 900,
            "jti": given["jti"],
            "tenant": str(changing_pair.acme.tenant_id),
            "incarnation": str(changing_pair.acme.incarnation),
            "scope": "projects:read projects:write",
        }
        ends = parse_datetime(given["expires_at"])
        assert (given["expires_in"], ends and ends.timestamp()) == (900, issued + 900)

    def test_the_published_keys_verify_it_and_nothing_symmetric_is_among_them(self, site: Caller, acme: str) -> None:
        token = site.post(f"{acme}/tokens", WISH).json()["access_token"]
        answer = Client().get("/.well-known/jwks.json")
        assert (answer["Content-Type"], answer["Cache-Control"]) == ("application/jwk-set+json", "public, max-age=300")
        published = {key["kid"]: key for key in answer.json()["keys"]}
        header = jwt.get_unverified_header(token)
        key = published[header["kid"]]
        assert header["alg"] == key["alg"] == "ES256"
        assert all(set(one) == {"kty", "crv", "x", "y", "kid", "use", "alg"} for one in published.values())
        assert jwt.decode(token, jwt.PyJWK(key), algorithms=["ES256"], audience="tenant-application")
        assert Client().post("/.well-known/jwks.json").status_code == 405

    def test_a_token_is_kept_nowhere_and_told_in_the_audit_log(
        self, site: Caller, acme: str, changing_pair: Pair, caplog: pytest.LogCaptureFixture
    ) -> None:
        key = "the-same-key-for-both"
        first, second = (site.post(f"{acme}/tokens", WISH, key=key).json() for _ in range(2))
        assert first["jti"] != second["jti"]
        assert not IdempotencyKey.objects.filter(key=key).exists()
        everything = stored() + caplog.text
        for given in (first, second):
            assert given["jti"] in everything
            assert not [part for part in given["access_token"].split(".")[1:] if part in everything]
        assert "member-4711" not in everything
        entry = entries("token.minted")[0]
        assert str(site.key.key.id) in json.dumps(entry["actor"])
        assert (entry["tenant"], entry["object_type"], entry["object_id"]) == (
            str(changing_pair.acme.tenant_id),
            "token",
            first["jti"],
        )
        assert entry["counts"] == {"duration_s": 900, "scopes": 2}

    @pytest.mark.parametrize(
        ("changed", "field"),
        [
            ({"subject": ""}, "subject"),
            ({"subject": "two words"}, "subject"),
            ({"subject": "x\n"}, "subject"),
            ({"subject": 4711}, "subject"),
            ({"scopes": ["Everything"]}, "scopes"),
            ({"scopes": ["a b"]}, "scopes"),
            ({"scopes": "projects:read"}, "scopes"),
            ({"scopes": [f"s{number}" for number in range(33)]}, "scopes"),
            ({"lifetime_s": 901}, "lifetime_s"),
            ({"lifetime_s": 0}, "lifetime_s"),
            ({"lifetime_s": "60"}, "lifetime_s"),
            ({"lifetime_s": True}, "lifetime_s"),
            ({"tenant": "globex"}, "tenant"),
        ],
        ids=str,
    )
    def test_what_may_not_be_asked_for(self, site: Caller, acme: str, changed: dict[str, Any], field: str) -> None:
        answer = site.post(f"{acme}/tokens", {**WISH, **changed})
        assert (answer.status_code, answer.json()["code"]) == (422, "VALIDATION_FAILED")
        assert field in "".join(error["field"] for error in answer.json()["errors"]) or changed == {"subject": "x\n"}

    def test_a_shorter_life_and_no_scope_are_fine(self, site: Caller, acme: str) -> None:
        given = site.post(f"{acme}/tokens", {"subject": "x", "lifetime_s": 60}).json()
        claims = jwt.decode(given["access_token"], options={"verify_signature": False})
        assert (given["expires_in"], claims["exp"] - claims["iat"], claims["scope"]) == (60, 60, "")

    def test_for_a_suspended_tenant_none_is_minted(self, site: Caller, acme: str) -> None:
        assert site.post(f"{acme}/tokens", WISH).status_code == 200
        Tenant.objects.filter(slug="acme").update(state=TenantState.SUSPENDED)
        answer = site.post(f"{acme}/tokens", WISH)
        assert (answer.status_code, answer.json()["code"]) == (409, "STATE_CONFLICT")

    def test_the_first_token_ever_makes_the_first_key(self, site: Caller, acme: str) -> None:
        SigningKey.objects.update(revoked_at=timezone.now())
        assert Client().get("/.well-known/jwks.json").json() == {"keys": []}
        assert site.post(f"{acme}/tokens", WISH).status_code == 200
        assert len(Client().get("/.well-known/jwks.json").json()["keys"]) == 1

    def test_the_command_rotates_and_says_from_when(self, site: Caller, acme: str) -> None:
        site.post(f"{acme}/tokens", WISH)
        out = StringIO()
        call_command("rotate_token_key", stdout=out)
        assert "UTC" in out.getvalue()
        call_command("rotate_token_key", "--exposed", stdout=out)
        assert "signs from now" in out.getvalue()
        assert len(Client().get("/.well-known/jwks.json").json()["keys"]) == 1
        assert len(entries("signing_key.rotated")) >= 2


class TestDataKeys:
    def test_the_active_key_and_the_one_for_indexes_are_handed_out_and_audited(self, site: Caller, acme: str) -> None:
        answer = site.post(f"{acme}/data-keys")
        given = answer.json()
        assert (answer.status_code, answer["Cache-Control"]) == (200, "no-store")
        (key,) = given["keys"]
        assert (key["state"], len(base64.urlsafe_b64decode(key["key"]))) == ("active", 32)
        assert base64.urlsafe_b64decode(given["index_key"]["key"]) != base64.urlsafe_b64decode(key["key"])
        assert site.post(f"{acme}/data-keys").json() == given
        (entry, _again) = entries("data_keys.handed_out")
        assert set(entry["keys"]) == {key["id"], given["index_key"]["id"]}

    def test_no_key_is_stored_in_the_clear(self, site: Caller, acme: str, caplog: pytest.LogCaptureFixture) -> None:
        given = site.post(f"{acme}/data-keys").json()
        everything = stored() + caplog.text
        for one in (*given["keys"], given["index_key"]):
            key = base64.urlsafe_b64decode(one["key"])
            assert not [form for form in (one["key"], key.hex(), base64.b64encode(key).decode()) if form in everything]

    def test_after_a_rotation_the_former_one_is_there_to_read(self, site: Caller, acme: str) -> None:
        former = site.post(f"{acme}/data-keys").json()["keys"][0]
        call_command("rotate_data_key", "acme", "--because", "it is time", stdout=StringIO())
        states = {key["id"]: key for key in site.post(f"{acme}/data-keys").json()["keys"]}
        assert (len(states), states[former["id"]]["state"], states[former["id"]]["key"]) == (
            2,
            "retired",
            former["key"],
        )

    @pytest.mark.parametrize(
        ("changed", "problem"),
        [
            ({"state": "disabled"}, (409, "KEY_DISABLED")),
            ({"state": "destroyed", "wrapped": None, "destroyed_at": timezone.now()}, (410, "KEY_DESTROYED")),
        ],
    )
    def test_a_key_that_is_gone_is_a_problem_of_its_own(
        self, site: Caller, acme: str, changing_pair: Pair, changed: dict[str, Any], problem: tuple[int, str]
    ) -> None:
        DataKey.objects.filter(owner_ref=changing_pair.acme.tenant_id).update(**changed)
        answer = site.post(f"{acme}/data-keys")
        assert (answer.status_code, answer.json()["code"]) == problem
        theirs = public_id("ten", changing_pair.globex.tenant_id)
        assert site.post(f"tenants/{theirs}/data-keys").status_code == 200

    def test_a_suspended_tenants_keys_stay_where_they_are(self, site: Caller, acme: str) -> None:
        Tenant.objects.filter(slug="acme").update(state=TenantState.SUSPENDED)
        answer = site.post(f"{acme}/data-keys")
        assert (answer.status_code, answer.json()["code"]) == (409, "STATE_CONFLICT")

    def test_a_destroyed_index_key_is_not_made_anew(self, site: Caller, acme: str, changing_pair: Pair) -> None:
        site.post(f"{acme}/data-keys")
        DataKey.objects.filter(owner_ref=changing_pair.acme.tenant_id, purpose="tenant.index").update(
            state="destroyed", wrapped=None, destroyed_at=timezone.now() - timedelta(minutes=1)
        )
        assert site.post(f"{acme}/data-keys").json()["code"] == "KEY_DESTROYED"
