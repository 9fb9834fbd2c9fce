from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.test import override_settings

from controlplane.stack.embedded import Stack
from provisioning.databases.blueprint import publish
from provisioning.databases.paths import path_between
from provisioning.models import ReleasePath
from tests import databases
from tests.fleet import BILLING
from tests.provisioning.databases.paths.releasing import BOOKS, KEY, WRITERS, written
from tests.shelf import Shelf, new_shelf


@dataclass(frozen=True, slots=True)
class Walked:
    """One path over many migrations, as it was recorded, and a second time as it was kept."""

    path: ReleasePath
    again: ReleasePath
    app: str


HEAD = """
def fill(apps, editor):
    apps.get_model("{n}", "Book").objects.create(title="x")

def nothing(apps, editor):
    pass
"""


@pytest.fixture(scope="module")
def walked(
    stack: Stack, furnished: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Walked]:
    """From a release of one migration to one of seven."""
    with pytest.MonkeyPatch.context() as patch, django_db_blocker.unblock():
        databases.load(stack, "furnished")
        shelf = new_shelf(tmp_path_factory.mktemp("app"), patch)
        with override_settings(TENANT_APPS=["django.contrib.contenttypes", shelf.name]):
            written(shelf, BOOKS, WRITERS)
            first = publish(actor=BILLING)
            _write_history(shelf)
            second = publish(actor=BILLING)
            path = ReleasePath.objects.get(source=first, target=second)  # publishing has recorded it
            yield Walked(path, path_between(first, second), shelf.name)
        databases.close_all()


def _write_history(shelf: Shelf) -> None:
    head = HEAD.replace("{n}", shelf.name)
    function = "CREATE FUNCTION one() RETURNS int LANGUAGE plpgsql AS $$BEGIN RETURN 1; END$$"
    written(
        shelf,
        'migrations.AddField("Book", "pages", models.IntegerField(null=True))',
        'migrations.AddIndex("Book", models.Index(fields=["pages"], name="by_pages"))',
    )
    written(shelf, """migrations.AlterField("Book", "title", models.CharField(max_length=80, default="it's 100%"))""")
    written(
        shelf,
        'migrations.AddField("Book", "seen", models.IntegerField(null=True))',
        "migrations.RunPython(migrations.RunPython.noop)",
        "migrations.SeparateDatabaseAndState(database_operations=[migrations.RunPython(fill)])",
        'migrations.AlterField("Book", "seen", models.BigIntegerField(null=True))',
        head=head,
    )
    written(shelf, 'AddIndexConcurrently("Book", models.Index(fields=["title"], name="calm"))', atomic=False)
    written(shelf, f'migrations.RunSQL("{function}")')
    written(
        shelf,
        f'migrations.CreateModel("Atlas", [{KEY}])',
        'migrations.RenameModel("Writer", "Author")',
        "migrations.RunPython(nothing)",
        head=head,
    )
