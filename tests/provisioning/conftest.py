from pathlib import Path
from typing import Any

import pytest

from tests.shelf import Shelf, new_shelf


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Shelf:
    """A small tenant application of this test's own: `write` a migration, and publish."""
    made = new_shelf(tmp_path, monkeypatch)
    settings.TENANT_APPS = ["django.contrib.contenttypes", made.name]
    return made
