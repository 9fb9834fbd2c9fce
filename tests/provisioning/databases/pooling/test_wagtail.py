"""Wagtail, unmodified: some four hundred statements of two hundred migrations, compiled and run."""

from typing import Any

import pytest

from benchmarks import wagtail
from provisioning.databases.blueprint import publish
from provisioning.databases.pooling import compiled_script
from tests.fleet import BILLING

pytestmark = [
    pytest.mark.wagtail,
    pytest.mark.drawn(1, among="other people's applications"),
    pytest.mark.timeout(300),
]


def test_wagtail_can_be_pooled(house: None, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.TENANT_APPS = list(wagtail.APPS)
    monkeypatch.setenv("TENANT_SETTINGS", "tests.wagtail.settings")
    release = publish(actor=BILLING)
    assert release.pool_refusals == []
    assert release.pool_script == compiled_script(release)
    tables = {line.partition(":")[0] for line in release.pool_shape if line.startswith("table ")}
    policies = {
        f"table {line.split()[1].partition('.')[0]}" for line in release.pool_shape if line.startswith("policy ")
    }
    assert len(tables) > 50
    assert tables - policies == {"table django_migrations"}
