"""A small tenant application of a test's own."""

import secrets
from pathlib import Path

import pytest


class Shelf:
    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder

    def write(self, migration: str, operations: str, *, before: str = "", head: str = "") -> Path:
        """`operations` is Python; `head` stands above the class; `before` names the migration it follows."""
        path = self.folder / f"{migration}.py"
        dependencies = [(self.name, before)] if before else []
        path.write_text(
            "from django.db import migrations, models\n"
            f"{head}\n"
            "class Migration(migrations.Migration):\n"
            f"    dependencies = {dependencies}\n"
            f"    operations = [{operations}]\n"
        )
        return path


def new_shelf(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    """Without a migration, below `folder`."""
    name = f"shelf_{secrets.token_hex(4)}"
    (folder / name / "migrations").mkdir(parents=True)
    for package in (name, f"{name}/migrations"):
        (folder / package / "__init__.py").touch()
    monkeypatch.syspath_prepend(folder)
    return Shelf(name, folder / name / "migrations")
