"""What a path over several migrations tells: acts in order, in a schema and in a pool."""

import pytest

from provisioning.databases.paths import statements_per_migration
from tests.provisioning.databases.paths.conftest import Walked
from tests.provisioning.databases.paths.releasing import acts

pytestmark = pytest.mark.long


def test_publishing_records_the_path_from_the_former_release(walked: Walked) -> None:
    assert walked.path == walked.again
    names = ["0002", "0003", "0004", "0005", "0006", "0007"]
    assert [(step["app"], step["name"]) for step in walked.path.migrations] == [(walked.app, name) for name in names]
    assert [step["name"] for step in walked.path.pool_migrations] == names
    assert not any(step["unapply"] for step in walked.path.migrations)


def test_columns_and_an_index_are_statements_in_order(walked: Walked) -> None:
    assert acts(walked.path, "0002") == [
        ("ddl", f'ALTER TABLE "{walked.app}_book" ADD COLUMN "pages" integer NULL'),
        ("ddl", f'CREATE INDEX "by_pages" ON "{walked.app}_book" ("pages")'),
    ]
    assert acts(walked.path, "0002", pooled=True)[1] == (
        "ddl",
        f"CREATE INDEX by_pages ON {walked.app}_book USING btree (tenant_id, pages)",
    )


def test_a_default_for_rows_that_are_there_is_told_whole(walked: Walked) -> None:
    """Django sends it with a parameter, in one text with a statement about constraints."""
    assert acts(walked.path, "0003")[1:3] == [
        ("dml", f"""UPDATE "{walked.app}_book" SET "title" = 'it''s 100%' WHERE "title" IS NULL"""),
        ("ddl", "SET CONSTRAINTS ALL IMMEDIATE"),
    ]


def test_python_stands_between_the_statements_around_it(walked: Walked) -> None:
    """Python that does nothing is left out, and what the other sends is its own."""
    assert [kind for kind, _text in acts(walked.path, "0004")] == ["ddl", "python", "ddl"]
    assert [kind for kind, _text in acts(walked.path, "0004", pooled=True)] == ["ddl", "python", "ddl"]
    python = walked.path.migrations[2]["acts"][1]
    assert (python["position"], python["operation"], python["text"]) == (2, "SeparateDatabaseAndState", "")


def test_a_migration_without_a_transaction_says_so(walked: Walked) -> None:
    assert [step["atomic"] for step in walked.path.migrations] == [True, True, True, False, True, True]
    table = f"{walked.app}_book"
    assert acts(walked.path, "0005") == [("ddl", f'CREATE INDEX CONCURRENTLY "calm" ON "{table}" ("title")')]
    pooled = f"CREATE INDEX CONCURRENTLY calm ON {table} USING btree (tenant_id, title)"
    assert acts(walked.path, "0005", pooled=True) == [("ddl", pooled)]


def test_functions_that_a_migration_makes_are_pinned_where_it_is_replayed(walked: Walked) -> None:
    placeholder = walked.path.target.placeholder
    assert acts(walked.path, "0006")[-1] == ("ddl", f"ALTER FUNCTION one() SET search_path = {placeholder}, pg_temp")


def test_what_signal_handlers_put_in_between_does_not_move_the_places_of_operations(walked: Walked) -> None:
    """Django adds the renaming of the content type behind the second operation."""
    assert [(act["kind"], act["operation"], act["position"]) for act in walked.path.migrations[-1]["acts"]] == [
        ("ddl", "CreateModel", 0),
        ("ddl", "RenameModel", 1),
        ("dml", "RunSQL", 1),
        ("python", "RunPython", 2),
    ]
    (renamed,) = (text for kind, text in acts(walked.path, "0007") if kind == "dml")
    assert renamed.startswith("UPDATE django_content_type SET model = 'author' WHERE app_label = ")


def test_a_summary_counts_the_acts_and_weighs_those_on_tables_that_are_there(walked: Walked) -> None:
    columns, default, *_others, renamed = statements_per_migration(walked.path, pooled=False)
    assert (columns.migration, columns.ddl, columns.dml, columns.python) == (f"{walked.app}.0002", 2, 0, 0)
    assert [(weight.table, weight.lock, weight.scans) for weight in columns.weights] == [
        (f"{walked.app}_book", "ACCESS EXCLUSIVE", False),
        (f"{walked.app}_book", "SHARE", True),
    ]
    assert default.dml == 1
    assert {weight.table for weight in renamed.weights} == {f"{walked.app}_writer"}  # the new table is nobody's yet
    pooled = statements_per_migration(walked.path, pooled=True)
    assert pooled[0].weights == columns.weights
