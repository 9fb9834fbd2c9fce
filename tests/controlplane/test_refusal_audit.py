"""Refusals in the control plane are in the audit log, whatever becomes of the transaction they ended."""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import transaction

from controlplane.refusal_audit import AuditRefusals
from controlplane.stack.embedded import Stack
from tenants import audit
from tenants.actions import AuditAction
from tenants.audit import writing
from tenants.isolation import refusals
from tenants.isolation.refusals import LOGGER, Layer, refused
from tenants.models import AuditEntry
from tests.pair import Pair


@pytest.fixture
def written(changing_pair: Pair) -> Iterator[Any]:
    """Call it for the entries there are, once all of them are written."""
    handler, logger = AuditRefusals(), logging.getLogger(LOGGER)
    refusals._counted.counts.clear()
    logger.addHandler(handler)

    def entries() -> list[dict[str, Any]]:
        handler.close()
        found = AuditEntry.objects.filter(public__action__startswith="isolation.refused").order_by("public__at")
        return [entry.public for entry in found]

    yield entries
    logger.removeHandler(handler)
    handler.close()


def test_an_entry_outlives_the_transaction_that_was_refused(changing_pair: Pair, written: Any) -> None:
    acme = changing_pair.acme
    with transaction.atomic():
        refused(Layer.STORAGE, "name leads out", subject=acme.key)
        transaction.set_rollback(True)
    (entry,) = written()
    assert (entry["action"], entry["outcome"]) == ("isolation.refused.storage", "refused")
    assert entry["actor"] == "system:isolation"
    assert str(acme.tenant_id) in str(entry)
    assert entry["counts"] == {"attempts": 1}
    assert audit.verify().intact


def test_a_flood_is_a_few_entries_that_count(written: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "time", lambda: 60.0)
    for _attempt in range(150):
        refused(Layer.HOST, "unknown host")
    assert sorted(entry["counts"]["attempts"] for entry in written()) == [1, 10, 100]


def test_what_somebody_made_up_is_not_in_an_entry(written: Any) -> None:
    refused(Layer.TOKEN, "unknown", subject="robert'); DROP TABLE")
    refused(Layer.TASK, "forged", subject=f"t_{'0' * 32}")
    by_name, by_key = written()
    assert str(os.getpid()) in str(by_name)
    assert "robert" not in str(by_name)
    assert "00000000-0000-0000-0000-000000000000" in str(by_key)


def test_who_is_refused_does_not_notice_that_the_log_is_away(
    written: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writing, "APPEND", "SELECT 1 / 0 AS nothing WHERE %s = %s AND %s IS NULL")
    refused(Layer.CACHE, "no scope")
    assert written() == []
    assert "is not in the audit log" in caplog.text


def test_every_layer_has_its_word() -> None:
    assert {f"isolation.refused.{layer}" for layer in Layer} == {
        word for word in AuditAction if word.startswith("isolation.refused")
    }


def test_the_control_plane_listens(stack: Stack) -> None:
    """In a process of its own: the tests' own does not."""
    code = (
        "import django, logging; django.setup(); "
        f"print([type(each).__name__ for each in logging.getLogger({LOGGER!r}).handlers])"
    )
    told = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TENURE_TESTING": "false", "TENURE_FAILPOINT": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == "['AuditRefusals']"
