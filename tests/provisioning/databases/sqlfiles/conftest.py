import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

EXAMPLE = Path(__file__).parents[4] / "examples" / "orders"

Folder = Callable[[int], Path]


@pytest.fixture
def folder(tmp_path: Path, settings: Any) -> Folder:
    """The tenant application: the first so many files of the example, beside whatever else the test puts there."""
    place = tmp_path / "orders"
    place.mkdir()
    settings.TENANT_SQL, settings.TENANT_APPS = place, []

    def with_files(number: int) -> Path:
        for path in sorted(EXAMPLE.glob("*.sql")):
            if int(path.name[:4]) <= number:
                shutil.copy(path, place)
            else:
                (place / path.name).unlink(missing_ok=True)
        return place

    return with_files
