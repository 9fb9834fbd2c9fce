"""Every refusal is problem+json, also where no view was reached; every code has a page."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connections
from django.test import Client

from controlplane.api.codes import Code
from tests.controlplane.api.conftest import ACME, Caller

PROBLEM = {
    "type", "title", "status", "detail", "instance", "code", "retryable", "errors", "metadata", "hint", "request_id",
}  # fmt: skip


def is_problem(answer: Any, status: int, code: str) -> bool:
    body = answer.json()
    assert answer["Content-Type"] == "application/problem+json"
    assert set(body) == PROBLEM
    assert body["request_id"] == answer["Request-Id"]
    return (answer.status_code, body["status"], body["code"]) == (status, status, code)


@pytest.mark.parametrize(
    "path",
    ["/api/", "/api/v1", "/api/v1/", "/api/v2/tenants", "/api/v1/tenants/", "/api/v1/moves", "/api/%00", "/api/é"],
)
def test_an_unknown_address_is_a_problem(path: str) -> None:
    assert is_problem(Client().get(path), 404, "NOT_FOUND")


def test_a_post_to_a_wrong_address_is_a_problem_and_no_forgery(control: None) -> None:
    """As a browser's form would send it: Django's own protection answers in HTML."""
    browser = Client(enforce_csrf_checks=True)
    for path, status in (("moves", 404), ("schema", 405), ("problems", 405), ("docs", 405), ("tenants", 401)):
        answer = browser.post(f"/api/v1/{path}", {"slug": "acme"})
        assert (answer.status_code, answer["Content-Type"]) == (status, "application/problem+json"), path


def test_what_belongs_to_no_release_yet_is_absent(billing: Caller) -> None:
    tenant = billing.post("tenants", ACME).json()["tenant"]["id"]
    assert is_problem(billing.post(f"tenants/{tenant}/move"), 404, "NOT_FOUND")
    for noun in ("events", "keys"):
        assert is_problem(billing.get(noun), 404, "NOT_FOUND")
    deleted = billing.client.delete("/api/v1/tenants", headers=billing.auth)
    assert is_problem(deleted, 405, "METHOD_NOT_ALLOWED")


def test_another_method_is_refused_with_those_that_are_not(billing: Caller) -> None:
    for method in ("put", "delete", "options", "trace"):
        answer = getattr(billing.client, method)("/api/v1/tenants", headers=billing.auth)
        assert is_problem(answer, 405, "METHOD_NOT_ALLOWED")
        assert answer["Allow"] == "GET, HEAD, POST"


def test_an_answer_in_another_form_is_refused(billing: Caller) -> None:
    assert is_problem(billing.get("tenants", Accept="text/html"), 406, "NOT_ACCEPTABLE")
    for accepted in ("*/*", "application/*", "application/json", "application/problem+json", "text/html, */*;q=0.1"):
        assert billing.get("tenants", Accept=accepted).status_code == 200


def test_an_unknown_host_is_a_problem() -> None:
    answer = Client().get("/api/v1/tenants", headers={"Host": "elsewhere.example"})
    assert is_problem(answer, 400, "MALFORMED_REQUEST")
    assert answer.json()["type"] == "/api/v1/problems/malformed-request"


def test_a_wrong_prefix_names_nothing(billing: Caller) -> None:
    made = billing.post("tenants", ACME).json()
    tenant, operation = made["tenant"]["id"], made["operation"]["id"]
    hexed = tenant.removeprefix("ten_")
    for path in (
        f"tenants/op_{hexed}",
        f"tenants/{hexed}",
        f"tenants/{UUID(hexed)}",
        f"tenants/{tenant}0",
        "tenants/acme",
    ):
        assert is_problem(billing.get(path), 404, "NOT_FOUND")
    assert is_problem(billing.get(f"operations/{tenant}"), 404, "NOT_FOUND")
    assert is_problem(billing.get(f"tenants/{tenant.upper()}"), 404, "NOT_FOUND")
    assert billing.get(f"operations/{operation}").status_code == 200


def test_a_request_id_is_kept_when_it_is_a_uuid_and_made_when_not(billing: Caller) -> None:
    mine = str(uuid4())
    assert billing.get("tenants", Request_Id=mine)["Request-Id"] == mine
    made = billing.get("tenants", Request_Id="'; --")["Request-Id"]
    assert str(UUID(made)) == made
    operation = billing.post("tenants", ACME, Request_Id=mine).json()["operation"]
    assert operation["request_id"] == mine


def test_an_outage_of_the_control_database_is_a_problem_that_passes(
    control: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A closed port in place of the server."""
    connections["default"].close()
    monkeypatch.setitem(connections["default"].settings_dict, "PORT", "1")
    try:
        answer = Client().get("/api/v1/tenants", headers={"Authorization": f"Bearer tnr_{'0' * 32}_{'0' * 64}"})
    finally:
        connections["default"].close()
    assert is_problem(answer, 503, "UNAVAILABLE")
    assert answer["Retry-After"] == "5"
    assert "127.0.0.1" not in answer.content.decode()


def test_what_nobody_foresaw_tells_the_caller_nothing_and_the_log_everything(
    billing: Caller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from controlplane.api import catalog

    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("with a secret in its message")

    monkeypatch.setattr(catalog, "_clusters", broken)
    billing.client.raise_request_exception = False
    answer = billing.get("clusters")
    assert is_problem(answer, 500, "INTERNAL")
    assert "secret" not in answer.content.decode()
    record = next(record for record in caplog.records if record.name == "controlplane.api.errors")
    assert answer["Request-Id"] in record.getMessage()
    assert record.exc_info is not None


@pytest.mark.parametrize("code", Code)
def test_every_code_has_the_page_its_type_leads_to(code: Code) -> None:
    page = Client().get(f"/api/v1/problems/{code.page}")
    assert page.status_code == 200
    assert code in page.content.decode()
    assert Client().get("/api/v1/problems").content.decode().count("<h2") == len(Code)


def test_the_page_to_try_the_api_needs_no_network() -> None:
    page = Client().get("/api/v1/docs").content.decode()
    assert "/api/v1/schema" in page
    assert "https://" not in page.replace("https://tenure.example", "")
    for file in ("swagger-ui.css", "swagger-ui-bundle.js"):
        asset = Client().get(f"/static/drf_spectacular_sidecar/swagger-ui-dist/{file}")
        assert (asset.status_code, len(asset.getvalue()) > 10_000) == (200, True)
        asset.close()
