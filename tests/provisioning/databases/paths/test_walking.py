"""Releases of a small application, published one after the other, and the paths between them."""

from typing import Any

import pytest

from provisioning.databases.blueprint import publish
from provisioning.databases.paths import path_between
from provisioning.models import Release, ReleasePath
from tests.fleet import BILLING
from tests.shelf import Shelf

HEAD = "from django.contrib.postgres.operations import AddIndexConcurrently\n"
KEY = '("id", models.BigAutoField(primary_key=True))'
BOOKS = f'migrations.CreateModel("Book", [{KEY}, ("title", models.CharField(max_length=80, null=True))])'
WRITERS = f'migrations.CreateModel("Writer", [{KEY}, ("name", models.CharField(max_length=80))])'

WRITERS_AGE = 'migrations.AddField("Writer", "age", models.IntegerField(null=True))'


def released(shelf: Shelf, *operations: str, head: str = "") -> Release:
    """The next migration, published."""
    number = len(list(shelf.folder.glob("0*.py"))) + 1
    shelf.write(
        f"000{number}", ",".join(operations), before=f"000{number - 1}" if number > 1 else "", head=f"{HEAD}{head}"
    )
    return publish(actor=BILLING)


def acts(path: ReleasePath, *, pooled: bool = False) -> list[tuple[str, str]]:
    """Kind and text, or operation where Python has none."""
    assert (path.pool_refusals if pooled else path.refusals) == []
    return [
        (act["kind"], act["text"] or act["operation"])
        for step in (path.pool_migrations if pooled else path.migrations)
        for act in step["acts"]
    ]


def test_columns_and_an_index_are_statements_in_order_in_a_schema_and_in_a_pool(house: None, shelf: Shelf) -> None:
    first = released(shelf, BOOKS)
    second = released(
        shelf,
        'migrations.AddField("Book", "pages", models.IntegerField(null=True))',
        'migrations.AddIndex("Book", models.Index(fields=["pages"], name="by_pages"))',
    )
    path = ReleasePath.objects.get(source=first, target=second)  # publishing has recorded it
    name = shelf.name
    assert acts(path) == [
        ("ddl", f'ALTER TABLE "{name}_book" ADD COLUMN "pages" integer NULL'),
        ("ddl", f'CREATE INDEX "by_pages" ON "{name}_book" ("pages")'),
    ]
    assert acts(path, pooled=True)[1] == ("ddl", f"CREATE INDEX by_pages ON {name}_book USING btree (tenant_id, pages)")
    (step,) = path.migrations
    assert (step["app"], step["name"], step["atomic"], step["unapply"]) == (name, "0002", True, False)
    assert [act["position"] for act in step["acts"]] == [0, 1]
    assert path_between(first, second) == path


def test_a_default_for_rows_that_are_there_is_told_whole(house: None, shelf: Shelf) -> None:
    """Django sends it with a parameter, in one text with a statement about constraints."""
    first = released(shelf, BOOKS)
    default = "it's 100%"
    second = released(
        shelf, f'migrations.AlterField("Book", "title", models.CharField(max_length=80, default="{default}"))'
    )
    assert acts(path_between(first, second))[1:3] == [
        ("dml", f"""UPDATE "{shelf.name}_book" SET "title" = 'it''s 100%' WHERE "title" IS NULL"""),
        ("ddl", "SET CONSTRAINTS ALL IMMEDIATE"),
    ]


def test_python_stands_between_the_statements_around_it(house: None, shelf: Shelf) -> None:
    first = released(shelf, BOOKS)
    head = "def fill(apps, editor): apps.get_model('{n}', 'Book').objects.create(title='x')\n".replace(
        "{n}", shelf.name
    )
    second = released(
        shelf,
        'migrations.AddField("Book", "pages", models.IntegerField(null=True))',
        "migrations.RunPython(migrations.RunPython.noop)",
        "migrations.SeparateDatabaseAndState(database_operations=[migrations.RunPython(fill)])",
        'migrations.AlterField("Book", "pages", models.BigIntegerField(null=True))',
        head=head,
    )
    path = path_between(first, second)
    assert [kind for kind, _text in acts(path)] == ["ddl", "python", "ddl"]
    python = path.migrations[0]["acts"][1]
    assert (python["position"], python["operation"], python["text"]) == (2, "SeparateDatabaseAndState", "")
    assert [kind for kind, _text in acts(path, pooled=True)] == ["ddl", "python", "ddl"]


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


def test_one_text_of_both_kinds_is_taken_apart_and_settings_are_left_out(house: None, shelf: Shelf) -> None:
    first = released(shelf, BOOKS)
    n = shelf.name
    text = (
        f"SET LOCAL work_mem = '8MB'; SET ROLE tenure_owner; ALTER TABLE {n}_book ADD seen int;"
        f" UPDATE {n}_book SET seen = 1; ALTER TABLE {n}_book ALTER seen SET NOT NULL"
    )
    second = released(shelf, f'migrations.RunSQL(["{text}"])')
    assert acts(path_between(first, second)) == [
        ("ddl", "SET LOCAL work_mem = '8MB'"),
        ("ddl", f"ALTER TABLE {n}_book ADD seen int"),
        ("dml", f"UPDATE {n}_book SET seen = 1"),
        ("ddl", f"ALTER TABLE {n}_book ALTER seen SET NOT NULL"),
    ]


def test_a_migration_without_a_transaction_says_so(house: None, shelf: Shelf) -> None:
    first = released(shelf, BOOKS)
    number = shelf.write(
        "0002", 'AddIndexConcurrently("Book", models.Index(fields=["title"], name="calm"))', before="0001", head=HEAD
    )
    number.write_text(number.read_text() + "    atomic = False\n")
    path = path_between(first, publish(actor=BILLING))
    assert path.migrations[0]["atomic"] is False
    assert acts(path) == [("ddl", f'CREATE INDEX CONCURRENTLY "calm" ON "{shelf.name}_book" ("title")')]
    assert (
        acts(path, pooled=True)[0][1]
        == f"CREATE INDEX CONCURRENTLY calm ON {shelf.name}_book USING btree (tenant_id, title)"
    )


def test_functions_that_a_migration_makes_are_pinned_where_it_is_replayed(house: None, shelf: Shelf) -> None:
    first = released(shelf, BOOKS)
    second = released(
        shelf, 'migrations.RunSQL("CREATE FUNCTION one() RETURNS int LANGUAGE plpgsql AS $$BEGIN RETURN 1; END$$")'
    )
    kind, text = acts(path_between(first, second))[-1]
    assert (kind, text) == ("ddl", f"ALTER FUNCTION one() SET search_path = {second.placeholder}, pg_temp")


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


def test_a_transaction_that_a_migration_ends_is_refused(house: None, shelf: Shelf) -> None:
    first = released(shelf, BOOKS)
    path = path_between(
        first, released(shelf, 'migrations.RunSQL("ALTER TABLE {n}_book ADD a int; COMMIT")'.replace("{n}", shelf.name))
    )
    assert path.refusals[0]["statement"] == "COMMIT"


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


def test_what_signal_handlers_put_in_between_does_not_move_the_places_of_operations(house: None, shelf: Shelf) -> None:
    """Django adds the renaming of the content type behind the second operation."""
    first = released(shelf, BOOKS)
    head = "def nothing(apps, editor): pass\n"
    rename = 'migrations.RenameModel("Book", "Tome")'
    path = path_between(first, released(shelf, WRITERS, rename, "migrations.RunPython(nothing)", head=head))
    assert [(act["kind"], act["operation"], act["position"]) for act in path.migrations[0]["acts"]] == [
        ("ddl", "CreateModel", 0),
        ("ddl", "RenameModel", 1),
        ("dml", "RunSQL", 1),
        ("python", "RunPython", 2),
    ]


def test_migrations_that_are_squashed_by_now_are_a_step_without_acts(house: None, shelf: Shelf) -> None:
    first = released(shelf, BOOKS, WRITERS)
    second = released(shelf, WRITERS_AGE)
    squashed = shelf.write("0001_squashed", f"{BOOKS},{WRITERS},{WRITERS_AGE}", head=HEAD)
    replaces = [(shelf.name, "0001"), (shelf.name, "0002")]
    squashed.write_text(squashed.read_text() + f"    replaces = {replaces}\n")
    third = publish(actor=BILLING)
    path = path_between(second, third)
    assert [(step["name"], step["replaces"], step["acts"]) for step in path.migrations] == [("0001_squashed", [], [])]
    back = path_between(third, second)
    assert [(step["name"], step["unapply"]) for step in back.migrations] == [("0001_squashed", True)]
    assert "has squashed it with later ones" in path_between(third, first).refusals[0]["reason"]


def test_an_older_release_of_other_apps_is_gone_back_to(house: None, shelf: Shelf) -> None:
    """Apps that came since are taken away, and those that went since come again."""
    first = Release.objects.get()
    second = released(shelf, BOOKS)
    path = path_between(second, first)
    assert path.refusals == []
    assert [step["app"] for step in path.migrations if step["unapply"]] == [shelf.name]
    assert {step["app"] for step in path.migrations if not step["unapply"]} == {"auth", "projects"}


def test_an_app_that_is_gone_is_not_walked_away_from(house: None, shelf: Shelf) -> None:
    second = released(shelf, BOOKS)
    path = ReleasePath.objects.get(target=second)
    assert "has no migrations of auth, projects" in path.refusals[0]["reason"]


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


@pytest.mark.parametrize("again", ["comment", "nothing"])
def test_publishing_nothing_new_after_a_walk_is_nothing_new(house: None, shelf: Shelf, again: str) -> None:
    released(shelf, BOOKS)
    second = released(shelf, f'migrations.CreateModel("Atlas", [{KEY}])')
    if again == "comment":
        path = shelf.folder / "0002.py"
        path.write_text(path.read_text() + "# a remark\n")
    assert publish(actor=BILLING).pk == second.pk
    assert ReleasePath.objects.filter(source=second).count() == 0
