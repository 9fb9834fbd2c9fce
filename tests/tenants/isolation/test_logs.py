import io
import json
import logging
import logging.config
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings as project
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, transaction
from django.http import HttpResponse
from django.test import RequestFactory
from django.urls import path, resolve

from examples.projects.models import Project, Tag
from tenants.context import TenantContext, tenant_scope
from tenants.errors import WrongTenant
from tenants.isolation import logs
from tenants.isolation.logs import JsonLines, TenantFilter, doing, logging_settings, unstamped_handlers
from tenants.isolation.refusals import Layer, refused
from tenants.placement import public_id
from tenants.states import Tier
from tests.pair import Pair

pytestmark = pytest.mark.long

SECRET = "jane.doe@example.com"
ACME = TenantContext(uuid4(), uuid4(), "acme", Tier.SCHEMA, "local", "tenure_cluster", "t_acme")
urlpatterns = [path("people/<str:mail>/", lambda _request: HttpResponse())]


class Lines:
    """What the handlers of our settings would write, logger by logger."""

    def __init__(self) -> None:
        self.written = io.StringIO()

    def last(self) -> dict[str, Any]:
        return self.all()[-1]

    def all(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.written.getvalue().splitlines()]


@pytest.fixture
def lines() -> Iterator[Lines]:
    lines = Lines()
    handler = logging.StreamHandler(lines.written)
    handler.addFilter(TenantFilter())
    handler.setFormatter(JsonLines())
    logging.getLogger().addHandler(handler)
    yield lines
    logging.getLogger().removeHandler(handler)


@pytest.fixture
def library() -> logging.Logger:
    return logging.getLogger("some.library")


def test_a_line_says_whose_it_is(lines: Lines, library: logging.Logger) -> None:
    library.warning("nobody's")
    with tenant_scope(ACME), doing(operation="op_1", actor="user:7"), doing(request_id="r1"):
        library.warning("acme's")
    outside, inside = lines.all()
    assert [outside[name] for name in logs.STAMPS] == ["-"] * 5
    assert [inside[name] for name in logs.STAMPS] == [public_id("ten", ACME.tenant_id), "acme", "op_1", "user:7", "r1"]
    assert (inside["level"], inside["logger"], inside["message"]) == ("WARNING", "some.library", "acme's")
    assert inside["time"].endswith("+00:00")


def test_a_line_is_one_line_whatever_it_says(lines: Lines) -> None:
    logging.getLogger("tenants.test").warning('forged"}\n{"level": "ERROR", %s', "\r\n")
    assert len(lines.written.getvalue().splitlines()) == 1


def test_a_librarys_arguments_are_not_told(lines: Lines, library: logging.Logger) -> None:
    run = uuid4()
    library.error("Mail to %s (%d bytes, %s) failed: %s", SECRET, 12, run, ValueError(SECRET))
    assert lines.last()["message"] == f"Mail to … (12 bytes, {run}) failed: ValueError"
    task = {"who": SECRET, "name": "n", "id": "i", "return_value": SECRET}
    library.error("%(who)s in task %(name)s[%(id)s]: %(return_value)s", task)
    assert lines.last()["message"] == "… in task n[i]: …"
    library.error("%5.1f of %s", 1.25, [SECRET])
    assert lines.last()["message"] == "  1.2 of …"
    library.error(ValueError(SECRET))
    library.error("sent", extra={"reason": SECRET, "body": SECRET})
    assert SECRET not in lines.written.getvalue()


def test_our_own_words_are_told(lines: Lines) -> None:
    logging.getLogger("tenants.isolation.middleware").warning("%s: %s", "acme.localhost", WrongTenant())
    assert lines.last()["message"].startswith("acme.localhost: WrongTenant WRONG_TENANT: A scope for another tenant")
    refused(Layer.STORAGE, "name leads out", subject=uuid4().hex)
    assert {
        "event": "isolation.refused.storage",
        "reason": "name leads out",
        "count": 1,
    }.items() <= lines.last().items()


def test_an_error_is_its_type_and_place(lines: Lines, library: logging.Logger) -> None:
    try:
        try:
            open("/nowhere/" + SECRET)  # noqa: PTH123, SIM115
        except OSError as error:
            raise ValueError(SECRET) from error
    except ValueError:
        library.exception("Unforeseen")
    last, first = lines.last()["error"]
    assert (last["type"], first["type"]) == ("ValueError", "FileNotFoundError 2")
    assert last["at"][-1].endswith(" test_an_error_is_its_type_and_place")
    assert SECRET not in lines.written.getvalue()


def test_what_postgresql_quotes_is_not_told(pair: Pair, lines: Lines, library: logging.Logger) -> None:
    with tenant_scope(pair.acme):
        tag = Tag.objects.create(name=SECRET)
        with pytest.raises(IntegrityError, match="DETAIL") as caught, transaction.atomic(using=pair.acme.key):
            Tag(pk=tag.pk, name=SECRET).save(force_insert=True)
        library.error("Not saved: %s", caught.value, exc_info=caught.value)
        tag.delete()
        assert Project.objects.count() == 0
    assert [each["type"] for each in lines.last()["error"]] == ["IntegrityError", "UniqueViolation 23505"]
    assert lines.last()["tenant"] == "acme"
    assert SECRET not in lines.written.getvalue()


@pytest.mark.urls(__name__)
def test_of_a_request_only_the_route_is_told(lines: Lines) -> None:
    request = RequestFactory().post(f"/people/{SECRET}/?q={SECRET}", {"body": SECRET})
    request.resolver_match = resolve(f"/people/{SECRET}/")
    extra = {"request": request, "status_code": 500}
    logging.getLogger("django.request").error("Internal Server Error: %s", request.path, extra=extra)
    assert {"method": "POST", "route": "people/<str:mail>/", "status": 500}.items() <= lines.last().items()
    assert SECRET not in lines.written.getvalue()


def test_one_tenants_error_under_anothers_scope_tells_nothing(lines: Lines, library: logging.Logger) -> None:
    """A retry that keeps the exception of an earlier attempt, say."""
    globex = TenantContext(uuid4(), uuid4(), "globex", Tier.SCHEMA, "local", "tenure_cluster", "t_globex")
    with tenant_scope(globex), pytest.raises(LookupError) as kept:
        raise LookupError("globex's canary")
    with tenant_scope(ACME):
        library.error("Failed before", exc_info=kept.value)
    assert lines.last()["tenant"] == "acme"
    assert "canary" not in lines.written.getvalue()


@pytest.mark.parametrize("format", ["json", "line"])
def test_the_settings_stamp_every_handler(format: str) -> None:
    config = logging_settings(format=format, level="INFO")
    assert unstamped_handlers(config) == []
    logging.config.DictConfigurator({**config, "root": {}, "loggers": {}}).configure()
    assert unstamped_handlers(project.LOGGING) == []


def test_a_format_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="LOG_FORMAT"):
        logging_settings(format="xml", level="INFO")


def test_what_a_check_would_complain_of() -> None:
    config = {
        "filters": {"tenant": {"()": TenantFilter}, "other": {"()": "a.B"}},
        "handlers": {
            "good": {"class": "x", "filters": ["tenant"]},
            "none": {"class": "logging.NullHandler"},
            "bare": {"class": "x"},
            "wrong": {"class": "x", "filters": ["other"]},
        },
    }
    assert unstamped_handlers(config) == ["bare", "wrong"]
