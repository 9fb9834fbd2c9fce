from uuid import uuid4

import pytest

from tenants.context import TenantContext, tenant_scope
from tenants.isolation import refusals
from tenants.isolation.refusals import LOGGER, Layer, refused
from tenants.states import Tier


@pytest.fixture(autouse=True)
def one_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "time", lambda: 60.0)


def test_a_refusal_names_layer_reason_and_whom(caplog: pytest.LogCaptureFixture) -> None:
    acme = TenantContext(uuid4(), uuid4(), "acme", Tier.SCHEMA, "local", "tenure_cluster", "t_acme")
    with tenant_scope(acme):
        refused(Layer.STORAGE, "name leads out")
    refused(Layer.TOKEN, "wrong tenant", subject="key-1")
    refused(Layer.CACHE, f"no scope {uuid4()}")
    first, second, third = caplog.records
    assert (first.name, first.levelname, first.getMessage()) == (
        LOGGER,
        "WARNING",
        "isolation.refused.storage: name leads out",
    )
    assert [vars(each)["subject"] for each in (first, second, third)] == [acme.key, "key-1", "-"]
    assert vars(first)["event"] == "isolation.refused.storage"


def test_a_flood_is_a_few_lines_and_the_next_minute_begins_anew(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    who = uuid4().hex
    for _attempt in range(150):
        refused(Layer.TASK, "forged", subject=who)
    refused(Layer.TASK, "forged", subject="another")
    monkeypatch.setattr(refusals, "time", lambda: 120.0)
    refused(Layer.TASK, "forged", subject=who)
    assert [vars(each)["count"] for each in caplog.records] == [1, 10, 100, 1, 1]


def test_subjects_that_are_made_up_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "MOST_COUNTED", 5)
    for number in range(50):
        refused(Layer.TOKEN, "unknown", subject=str(number))
        assert len(refusals._counted.counts) <= 5
