"""What a folder may not hold, found before anything is run."""

import shutil
from pathlib import Path

import pytest

from provisioning.databases.blueprint import publish
from provisioning.databases.sqlfiles import errors, read
from provisioning.databases.sqlfiles.reading import script_of
from provisioning.models import Release
from tests.fleet import BILLING
from tests.provisioning.databases.sqlfiles.conftest import EXAMPLE, Folder

MISNAMED = ("0003_What.sql", "third.sql", "0003.sql", "0003_a-b.sql", "0003_a.up.sql", "0003_a.SQL", "0003_a b.sql")
REFUSED = {
    "CREATE TABLE a (": (errors.FileUnreadable, "syntax error"),
    "CREATE TABLE a (id int);\n\\i more.sql\n": (errors.PsqlCommand, r"line 2: \\i is a command"),
    "COPY a FROM stdin;\n1\tone\n\\.\n": (errors.PsqlCommand, r"line 3: \\\. is"),
    "SELECT 1 \\gset": (errors.PsqlCommand, r"\\gset"),
    "BEGIN;\nCREATE TABLE a (id int);\nCOMMIT;": (errors.TransactionControl, "line 1"),
    "CREATE TABLE a (id int);\n-- so\nROLLBACK": (errors.TransactionControl, "line 3"),
    "CREATE INDEX CONCURRENTLY i ON a (b)": (errors.TransactionControl, "no part of a transaction"),
    "DROP INDEX CONCURRENTLY i": (errors.TransactionControl, "no part of a transaction"),
    "CREATE EXTENSION hstore": (errors.NotTheFilesOwn, "which tenants share"),
    "SET statement_timeout = 0": (errors.NotTheFilesOwn, "outlives the file"),
    "SET LOCAL ROLE postgres": (errors.NotTheFilesOwn, "rights"),
    "DROP TABLE django_migrations": (errors.NotTheFilesOwn, "which files have run"),
    "-- tenure: data\nDELETE FROM django_migrations": (errors.NotTheFilesOwn, "line 2"),
    "-- tenure: data\nCOPY a FROM '/etc/passwd'": (errors.NotTheFilesOwn, "INSERT"),
    "INSERT INTO a VALUES (1)": (errors.RowsUnmarked, "this is about rows"),
    "-- tenure: data\nUPDATE a SET b = 1;\nALTER TABLE a ADD c int": (errors.RowsUnmarked, "line 3: .*about tables"),
    "-- tenure: date\nUPDATE a SET b = 1": (errors.MarkerUnknown, "line 1"),
    "CREATE TABLE a (id int);\n-- tenure: data\n": (errors.MarkerUnknown, "line 2"),
}
NAMES_A_SCHEMA = (
    "CREATE TABLE public.a (id int)",
    "CREATE TABLE a (id int REFERENCES public.b)",
    "CREATE TABLE a (id int, state public.state)",
    "CREATE TABLE a (id int DEFAULT public.next())",
    "CREATE TABLE a (name text COLLATE public.german)",
    "CREATE TABLE other.public.a (id int)",
    "CREATE VIEW v AS SELECT public.a.id FROM a",
    "CREATE TYPE public.state AS ENUM ('a')",
    "CREATE DOMAIN public.email AS text",
    "CREATE FUNCTION public.f() RETURNS int LANGUAGE sql RETURN 1",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql SET search_path = public AS 'SELECT 1'",
    "CREATE TRIGGER t AFTER INSERT ON a FOR EACH ROW EXECUTE FUNCTION public.f()",
    "CREATE INDEX i ON a (b public.text_ops)",
    "ALTER TYPE public.state ADD VALUE 'b'",
    "DROP TABLE public.a",
    "DROP TYPE public.state",
    "DROP FUNCTION public.f()",
    "DROP TRIGGER t ON public.a",
    "COMMENT ON TABLE public.a IS 'a'",
    "COMMENT ON COLUMN public.a.b IS 'b'",
    "CREATE SCHEMA mine",
    "ALTER TABLE a SET SCHEMA mine",
    "SET LOCAL search_path = public",
)
IN_ITS_OWN = (
    "CREATE TABLE a (id bigint, at timestamptz DEFAULT pg_catalog.now(), n pg_catalog.int4)",
    "CREATE FUNCTION f(a.id%TYPE) RETURNS a.id%TYPE LANGUAGE sql AS 'SELECT $1'",
    "CREATE VIEW v AS SELECT a.id, a.* FROM a WHERE a.id OPERATOR(pg_catalog.=) 1",
    "DROP TRIGGER t ON a",
    "COMMENT ON COLUMN a.b IS 'b'",
    "COMMENT ON CONSTRAINT c ON a IS 'c'",
    "ALTER TABLE a RENAME COLUMN b TO c",
    "ALTER TABLE a RENAME CONSTRAINT b TO c",
    "ALTER TRIGGER t ON a RENAME TO u",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql SET search_path = pg_catalog, pg_temp AS 'SELECT 1'",
    "DO $$ BEGIN PERFORM 1; END $$",
    "SET LOCAL lock_timeout = '1s'; CREATE TABLE a (path text DEFAULT 'C:\\dir')",
    "-- tenure: data\nDO $$ BEGIN PERFORM 1; END $$; SET CONSTRAINTS ALL IMMEDIATE; DELETE FROM a",
    "-- Two things:\n-- tenure: data\n--tenure:  not in a transaction \n\nUPDATE a SET b = 1",
    "",
)


@pytest.mark.parametrize("text", REFUSED)
def test_a_statement_that_is_not_a_files_own_is_refused(text: str) -> None:
    kind, said = REFUSED[text]
    with pytest.raises(kind, match=f"^0001_a.sql.*{said}") as refused:
        script_of("0001_a.sql", text)
    assert refused.value.cure


@pytest.mark.parametrize("text", NAMES_A_SCHEMA)
def test_a_statement_that_names_a_schema_is_refused(text: str) -> None:
    with pytest.raises(errors.OtherSchema):
        script_of("0001_a.sql", text)


@pytest.mark.parametrize("text", IN_ITS_OWN)
def test_what_stays_in_the_tenants_schema_is_read(text: str) -> None:
    script_of("0001_a.sql", text)


def test_markers_are_read_from_the_lines_a_file_begins_with() -> None:
    script = script_of(
        "0001_a.sql", "-- Why.\n\n-- tenure: data\n-- tenure: not in a transaction\nUPDATE a SET b = 1;\n"
    )
    assert (script.data, script.atomic) == (True, False)
    assert [line.number for line in script.lines] == [5]
    assert script_of("0002_a.sql", "CREATE TABLE a (id int)").atomic


@pytest.mark.parametrize("name", MISNAMED)
def test_a_name_that_is_no_identifier_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(errors.FileMisnamed, match=name):
        read(tmp_path)


def test_a_way_back_of_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "0001_a.down.sql").touch()
    with pytest.raises(errors.FileMisnamed, match=r"0001_a\.down\.sql is the way back of a file that is not there"):
        read(tmp_path)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "README.md").touch()
    with pytest.raises(errors.FolderEmpty):
        read(tmp_path)


@pytest.mark.parametrize("names", [("0001_a.sql", "0001_b.sql"), ("1_a.sql", "01_b.sql"), ("9_a.sql", "10_b.sql")])
def test_numbers_that_give_no_order_are_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(errors.FileOutOfOrder):
        read(tmp_path)


def test_a_file_that_is_not_in_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "0001_a.sql").write_bytes("-- naïve".encode("latin-1"))
    with pytest.raises(errors.FileUnreadable, match="UTF-8"):
        read(tmp_path)


def test_a_way_back_is_looked_at_before_it_is_needed(tmp_path: Path) -> None:
    (tmp_path / "0001_a.sql").touch()
    (tmp_path / "0001_a.down.sql").write_text("DROP TABLE public.a")
    with pytest.raises(errors.OtherSchema, match=r"^0001_a\.down\.sql, line 1"):
        read(tmp_path)


def test_what_is_published_is_not_rewritten(house: None, folder: Folder) -> None:
    place = folder(4)
    published = publish(actor=BILLING)
    third = place / "0003_products.sql"
    text = third.read_text()

    third.write_text(f"{text}\n-- A remark.\n")
    with pytest.raises(errors.FileChanged, match=rf"0003_products\.sql is not what it was in the release {published}"):
        publish(actor=BILLING)
    third.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())  # checked out elsewhere
    assert publish(actor=BILLING).pk == published.pk

    third.unlink()
    with pytest.raises(errors.FileGone, match=r"0003_products\.sql"):
        publish(actor=BILLING)
    third.write_text(text)

    early = place / "0003_a.sql"
    early.write_text("CREATE TABLE a (id int);\n")
    with pytest.raises(errors.FileOutOfOrder, match="one number"):
        publish(actor=BILLING)
    early.unlink()
    shutil.copy(EXAMPLE / "0004_orders.sql", place / "0005_orders.sql")
    (place / "0004_orders.sql").unlink()
    assert publish(actor=BILLING, name="renamed-the-last").name == "renamed-the-last"  # back, and on
    (place / "0004_between.sql").write_text("CREATE TABLE between (id int);\n")
    with pytest.raises(errors.FileOutOfOrder, match=r"0004_between\.sql is new and stands before 0005_orders\.sql"):
        publish(actor=BILLING)
    assert not Release.objects.filter(state=Release.State.FAILED).exists()
