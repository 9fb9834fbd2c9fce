"""A small tenant application of a test's own."""

from pathlib import Path


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
