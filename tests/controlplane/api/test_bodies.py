"""What cannot be read, and what is not what it says it is: refused before anything is done.

Nothing here writes a row, so all of it shares one control plane.
"""

import json
from typing import Any

import pytest

from tenants.models import Tenant
from tests.controlplane.api.conftest import ACME, Caller, caller

MALFORMED = {
    "not JSON": b"{slug: acme}",
    "half of it": b'{"slug": "acme"',
    "not UTF-8": b'{"slug": "\xff\xfe"}',
    "NaN": b'{"slug": NaN}',
    "beyond all numbers": b'{"slug": 1e999}',
    "a number of five thousand digits": b'{"slug": ' + b"9" * 5000 + b"}",
    "a name twice": b'{"slug": "acme", "slug": "globex"}',
    "deep nesting": b"[" * 30_000 + b"]" * 30_000,
    "nested a little too deep": b'{"a":' * 17 + b"1" + b"}" * 17,
    "NUL in a text": b'{"slug": "ac\\u0000me"}',
    "NUL in a name": b'{"labels": {"te\\u0000am": "north"}}',
    "half a surrogate pair": b'{"name": "\\ud800"}',
    "half a pair deep inside": b'{"labels": {"team": ["\\udfff"]}}',
}


@pytest.fixture(scope="module")
def refused(shared_house: None) -> Caller:
    """A key that may everything, and asks for what nobody gets."""
    return caller()


def send(refused: Caller, body: bytes, content_type: str = "application/json", **headers: str) -> Any:
    return refused.client.post(
        "/api/v1/tenants",
        body,
        content_type=content_type,
        headers={**refused.auth, "Idempotency-Key": "k" * 16, **headers},
    )


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_cannot_be_read_is_malformed(refused: Caller, body: bytes) -> None:
    answer = send(refused, body)
    assert (answer.status_code, answer.json()["code"]) == (400, "MALFORMED_REQUEST")


def test_a_body_larger_than_any_request_is_refused_unread(refused: Caller) -> None:
    answer = send(refused, json.dumps({**ACME, "name": "a" * 70_000}).encode())
    assert (answer.status_code, answer.json()["code"]) == (413, "REQUEST_TOO_LARGE")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "x"])
def test_another_media_type_is_refused(refused: Caller, kind: str) -> None:
    answer = send(refused, json.dumps(ACME).encode(), content_type=kind)
    assert (answer.status_code, answer.json()["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")


def test_another_charset_is_refused(refused: Caller) -> None:
    assert send(refused, b"{}", content_type="application/json; charset=latin-1").status_code == 415
    assert send(refused, b"{}", content_type="application/json; charset=UTF-8").status_code == 422


def test_a_body_without_a_length_is_not_taken_for_an_empty_one(refused: Caller) -> None:
    answer = send(refused, b"", **{"Transfer-Encoding": "chunked"})
    assert (answer.status_code, answer.json()["code"]) == (400, "MALFORMED_REQUEST")


@pytest.mark.parametrize("body", [[], "acme", 5, None, True])
def test_a_body_that_is_no_object_is_refused(refused: Caller, body: Any) -> None:
    answer = send(refused, json.dumps(body).encode())
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "NOT_AN_OBJECT")


def test_every_field_that_is_wrong_is_named_at_once(refused: Caller) -> None:
    answer = refused.post("tenants", {"slug": 5, "plan": "standard", "tear": "schema", "labels": {"team": 7}})
    assert answer.status_code == 422
    wrong = {(error["field"], error["code"]) for error in answer.json()["errors"]}
    assert wrong == {
        ("slug", "INVALID"),
        ("name", "REQUIRED"),
        ("tear", "UNKNOWN"),
        ("labels.team", "INVALID"),
    }


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("slug", "Acme", "BAD_SLUG"),
        ("slug", "асме", "BAD_SLUG"),
        ("slug", "acme'; DROP TABLE tenants--", "BAD_SLUG"),
        ("slug", "admin", "RESERVED_SLUG"),
        ("slug", "a" * 300, "BAD_SLUG"),
        ("plan", "golden", "UNKNOWN_PLAN"),
        ("region", "atlantis", "UNKNOWN_REGION"),
        ("name", "\u0007", "BAD_TEXT"),
        ("tier", "shelf", "INVALID_CHOICE"),
        ("labels", {"k" * 64: "v"}, "BAD_NAME"),
        ("labels", {f"k{n}": "v" for n in range(33)}, "TOO_MANY"),
        ("labels", ["team"], "NOT_A_DICT"),
        ("name", None, "NULL"),
        ("name", "a" * 201, "MAX_LENGTH"),
        ("name", "", "BLANK"),
    ],
)
def test_a_wrong_field_is_named_with_what_is_wrong(refused: Caller, field: str, value: Any, code: str) -> None:
    answer = refused.post("tenants", {**ACME, field: value})
    assert (answer.status_code, answer.json()["code"]) == (422, "VALIDATION_FAILED")
    assert [(error["field"], error["code"]) for error in answer.json()["errors"]] == [(field, code)]
    assert not Tenant.objects.exists()
