"""A small application, published release by release."""

from provisioning.databases.blueprint import publish
from provisioning.models import Release, ReleasePath
from tests.fleet import BILLING
from tests.shelf import Shelf

HEAD = "from django.contrib.postgres.operations import AddIndexConcurrently\n"
KEY = '("id", models.BigAutoField(primary_key=True))'
BOOKS = f'migrations.CreateModel("Book", [{KEY}, ("title", models.CharField(max_length=80, null=True))])'
WRITERS = f'migrations.CreateModel("Writer", [{KEY}, ("name", models.CharField(max_length=80))])'
WRITERS_AGE = 'migrations.AddField("Writer", "age", models.IntegerField(null=True))'


def written(shelf: Shelf, *operations: str, head: str = "", atomic: bool = True) -> None:
    """The next migration: 0001, 0002, …"""
    number = len(list(shelf.folder.glob("0*.py"))) + 1
    before = f"000{number - 1}" if number > 1 else ""
    path = shelf.write(f"000{number}", ",".join(operations), before=before, head=f"{HEAD}{head}")
    if not atomic:
        path.write_text(f"{path.read_text()}    atomic = False\n")


def released(shelf: Shelf, *operations: str, head: str = "") -> Release:
    """The same, and published."""
    written(shelf, *operations, head=head)
    return publish(actor=BILLING)


def acts(path: ReleasePath, name: str = "", *, pooled: bool = False) -> list[tuple[str, str]]:
    """Kind and text, or operation where Python has none; of one migration, if it is named."""
    assert (path.pool_refusals if pooled else path.refusals) == []
    return [
        (act["kind"], act["text"] or act["operation"])
        for step in (path.pool_migrations if pooled else path.migrations)
        for act in step["acts"]
        if name in {"", step["name"]}
    ]
