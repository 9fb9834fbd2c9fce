import secrets
from pathlib import Path
from typing import Any

import pytest

from tests.shelf import Shelf


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Shelf:
    """A small tenant application of this test's own: `write` a migration, and publish."""
    name = f"shelf_{secrets.token_hex(4)}"
    (tmp_path / name / "migrations").mkdir(parents=True)
    for folder in (name, f"{name}/migrations"):
        (tmp_path / folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    settings.TENANT_APPS = ["django.contrib.contenttypes", name]
    return Shelf(name, tmp_path / name / "migrations")
