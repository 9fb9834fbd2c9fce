"""Releases of a small application, published one after the other, and the paths between them."""

from typing import Any

import pytest

from provisioning.databases.blueprint import publish
from provisioning.databases.paths import path_between
from provisioning.models import Release, ReleasePath
from tests.fleet import BILLING
from tests.provisioning.databases.paths.releasing import BOOKS, HEAD, KEY, WRITERS, WRITERS_AGE, acts, released
from tests.shelf import Shelf

pytestmark = pytest.mark.long


def test_python_that_makes_tables_is_run_again_in_schemas_and_refused_in_pools(house: None, shelf: Shelf) -> None:
    """The key that the schema editor puts off is its own as well."""
    first = released(shelf, BOOKS, WRITERS)
    head = f"""
def make(apps, editor):
    book = models.ForeignKey(apps.get_model('{shelf.name}', 'Writer'), models.CASCADE, null=True)
    book.set_attributes_from_name("writer")
    book.contribute_to_class(apps.get_model('{shelf.name}', 'Book'), "writer")
    editor.add_field(apps.get_model('{shelf.name}', 'Book'), book)
"""
    second = released(shelf, "migrations.RunPython(make)", head=head)
    path = path_between(first, second)
    assert path.refusals == []
    assert [act["kind"] for act in path.migrations[0]["acts"]] == ["python"]
    assert path.pool_migrations == []
    assert "ADD COLUMN" in path.pool_refusals[0]["statement"]
    assert "0002: RunPython changes tables" in path.pool_refusals[0]["reason"]


def test_a_reversible_release_is_walked_back(house: None, shelf: Shelf) -> None:
    first = released(shelf, BOOKS)
    second = released(
        shelf,
        'migrations.AddField("Book", "pages", models.IntegerField(null=True))',
        "migrations.RunPython(migrations.RunPython.noop, migrations.RunPython.noop)",
        WRITERS,
    )
    path = path_between(second, first)
    assert path.migrations[0]["unapply"]
    assert acts(path) == [
        ("ddl", f'DROP TABLE "{shelf.name}_writer" CASCADE'),
        ("ddl", f'ALTER TABLE "{shelf.name}_book" DROP COLUMN "pages" CASCADE'),
    ]
    assert [kind for kind, _text in acts(path, pooled=True)] == ["ddl", "ddl"]


def test_one_way_operations_are_found_before_anything_runs(house: None, shelf: Shelf) -> None:
    first = released(shelf, BOOKS)
    released(shelf, WRITERS)
    inside = "migrations.RunPython(migrations.RunPython.noop)"
    third = released(shelf, f"migrations.SeparateDatabaseAndState(database_operations=[{inside}])", WRITERS_AGE)
    path = path_between(third, first)
    (refusal,) = path.refusals
    assert (path.migrations, path.pool_migrations) == ([], [])
    assert refusal["statement"] == f"{shelf.name}.0003: SeparateDatabaseAndState"
    assert "cannot be taken back" in refusal["reason"]


def test_a_release_that_ends_elsewhere_is_published_and_the_path_says_why(house: None, shelf: Shelf) -> None:
    """A migration that was edited after it had been published: who has it does not get the change."""
    released(shelf, BOOKS)
    initial = shelf.folder / "0001.py"
    initial.write_text(initial.read_text().replace("max_length=80", "max_length=90"))
    second = released(shelf, WRITERS)
    assert second.current
    path = ReleasePath.objects.get(target=second, source__apps=second.apps)
    assert path.migrations == []
    assert "another shape" in path.refusals[0]["reason"]
    assert f"{shelf.name}_book.title" in path.refusals[0]["reason"]


def test_migrations_that_are_squashed_by_now_are_a_step_without_acts(house: None, shelf: Shelf) -> None:
    first = released(shelf, BOOKS, WRITERS)
    second = released(shelf, WRITERS_AGE)
    squashed = shelf.write("0001_squashed", f"{BOOKS}, {WRITERS}, {WRITERS_AGE}", head=HEAD)
    replaces = [(shelf.name, "0001"), (shelf.name, "0002")]
    squashed.write_text(squashed.read_text() + f"    replaces = {replaces}\n")
    third = publish(actor=BILLING)
    path = path_between(second, third)
    assert [(step["name"], step["replaces"], step["acts"]) for step in path.migrations] == [("0001_squashed", [], [])]
    back = path_between(third, second)
    assert [(step["name"], step["unapply"]) for step in back.migrations] == [("0001_squashed", True)]
    assert "has squashed it with later ones" in path_between(third, first).refusals[0]["reason"]


def test_an_app_that_is_gone_is_gone_back_to_and_not_walked_away_from(house: None, shelf: Shelf) -> None:
    """Back on the older release, apps that came since are taken away, and those that went since come again."""
    first = Release.objects.get()
    second = released(shelf, BOOKS)
    on, path = ReleasePath.objects.get(target=second), path_between(second, first)
    assert "has no migrations of auth, projects" in on.refusals[0]["reason"]
    assert path.refusals == []
    assert [step["app"] for step in path.migrations if step["unapply"]] == [shelf.name]
    assert {step["app"] for step in path.migrations if not step["unapply"]} == {"auth", "projects"}


def content_types(release: Release) -> dict[str, int]:
    (table,) = (table for table in release.seed if table["table"] == "django_content_type")
    place = {name: table["columns"].index(name) for name in ("id", "model")}
    rows = [line.split("\t") for line in table["copy"].split("\n") if line]
    return {row[place["model"]]: int(row[place["id"]]) for row in rows}


def test_content_types_keep_their_ids_when_a_new_model_sorts_first(house: None, shelf: Shelf) -> None:
    (shelf.folder.parent / "models.py").touch()  # who has none gets no content types
    first = released(shelf, BOOKS)
    second = released(shelf, f'migrations.CreateModel("Atlas", [{KEY}])', 'migrations.RenameModel("Book", "Tome")')
    third = released(shelf, WRITERS)
    assert content_types(second) == {"contenttype": 1, "tome": content_types(first)["book"], "atlas": 3}
    assert content_types(third)["atlas"] == 3

    told: list[dict[str, Any]] = path_between(second, third).rows
    assert [(table["table"], table["copy"]) for table in told] == [
        ("django_content_type", f"4\t{shelf.name}\twriter\n")
    ]
    jump = path_between(first, third)
    assert {line for table in jump.rows for line in table["copy"].split("\n")} >= {
        f"3\t{shelf.name}\tatlas",
        f"4\t{shelf.name}\twriter",
    }
    renamed = [text for kind, text in acts(jump) if kind == "dml"]
    assert len(renamed) == 1
    assert renamed[0].startswith("UPDATE django_content_type SET model = 'tome'")
    assert "setval('" in third.finish


def test_publishing_nothing_new_after_a_walk_is_nothing_new(house: None, shelf: Shelf) -> None:
    """Neither the same again nor another comment, though rows come from the walk."""
    released(shelf, BOOKS)
    second = released(shelf, f'migrations.CreateModel("Atlas", [{KEY}])')
    assert publish(actor=BILLING).pk == second.pk
    path = shelf.folder / "0002.py"
    path.write_text(f"{path.read_text()}# a remark\n")
    assert publish(actor=BILLING).pk == second.pk
    assert ReleasePath.objects.filter(source=second).count() == 0
