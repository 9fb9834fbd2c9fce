"""What a compiled table does with the rows of two tenants."""

from uuid import UUID

import psycopg
import pytest

from provisioning.databases.pooling import compiled
from tests.provisioning.databases.pooling.side import ACME, GLOBEX, Sides

SHELVES = """
    CREATE TABLE shelf (id int PRIMARY KEY, label text UNIQUE);
    CREATE TABLE book (id int PRIMARY KEY, shelf_id int, span int4range)
"""


@pytest.fixture
def shelves(sides: Sides) -> Sides:
    """Both tenants have a shelf 1 and a book 1 on it; acme has a shelf 2."""
    sides.run_pooled(compiled(SHELVES))
    for tenant in (ACME, GLOBEX):
        sides.ask(tenant, "INSERT INTO shelf VALUES (1, 'a'); INSERT INTO book VALUES (1, 1, '[1,5)')")
    sides.ask(ACME, "INSERT INTO shelf VALUES (2, 'b')")
    return sides


def test_ids_and_unique_values_are_each_tenants_own(shelves: Sides) -> None:
    assert shelves.ask(GLOBEX, "SELECT id, label FROM shelf") == [(1, "a")]
    with pytest.raises(psycopg.errors.UniqueViolation):
        shelves.ask(GLOBEX, "INSERT INTO shelf VALUES (3, 'a')")


def test_a_row_without_a_tenant_is_refused(shelves: Sides) -> None:
    with pytest.raises(psycopg.errors.RaiseException, match="no context"):
        shelves.ask("", "INSERT INTO shelf VALUES (9, 'x')")


def test_a_foreign_key_over_rows_that_are_there_is_checked_in_every_tenant(shelves: Sides) -> None:
    """Without its turn as the session's own role PostgreSQL would ask the policies, and they know no tenant here."""
    add = "ALTER TABLE book ADD CONSTRAINT on_shelf FOREIGN KEY (shelf_id) REFERENCES shelf ON DELETE SET NULL"
    shelves.ask(GLOBEX, "UPDATE book SET shelf_id = 2")  # acme's
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        shelves.run_pooled(compiled(add))
    shelves.ask(GLOBEX, "UPDATE book SET shelf_id = 1")
    shelves.run_pooled(compiled(add))
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        shelves.ask(GLOBEX, "UPDATE book SET shelf_id = 2")

    shelves.ask(GLOBEX, "DELETE FROM shelf")
    assert shelves.ask(GLOBEX, "SELECT id, shelf_id FROM book") == [(1, None)]
    assert shelves.ask(ACME, "SELECT id, shelf_id FROM book") == [(1, 1)]


def test_a_foreign_key_is_checked_in_every_tenant_when_it_is_validated_later(shelves: Sides) -> None:
    shelves.ask(GLOBEX, "UPDATE book SET shelf_id = 2")
    shelves.run_pooled(compiled("ALTER TABLE book ADD CONSTRAINT k FOREIGN KEY (shelf_id) REFERENCES shelf NOT VALID"))
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        shelves.run_pooled(compiled("ALTER TABLE book VALIDATE CONSTRAINT k"))
    shelves.ask(GLOBEX, "UPDATE book SET shelf_id = 1")
    shelves.run_pooled(compiled("ALTER TABLE book VALIDATE CONSTRAINT k"))


def test_only_the_check_of_a_foreign_key_runs_as_the_session(shelves: Sides) -> None:
    """A default may call the application's own function: that stays the owner's."""
    shelves.run_pooled("CREATE FUNCTION whoever() RETURNS text LANGUAGE sql AS 'SELECT current_user::text'")
    shelves.run_pooled(
        compiled(
            "ALTER TABLE book ADD COLUMN made_by text DEFAULT whoever(),"
            " ADD CONSTRAINT k FOREIGN KEY (shelf_id) REFERENCES shelf; CREATE TABLE later (id int)"
        )
    )
    shelves.run_pooled(
        "CREATE FUNCTION owned() RETURNS bool LANGUAGE sql AS $$ SELECT current_user = 'tenure_owner' $$"
    )
    shelves.run_pooled(compiled("ALTER TABLE book ADD CONSTRAINT c CHECK (owned()) NOT VALID"))
    shelves.run_pooled(compiled("ALTER TABLE book VALIDATE CONSTRAINT c"))
    assert shelves.ask(ACME, "SELECT made_by FROM book") == [("tenure_owner",)]
    assert shelves.owners() == {"tenure_owner"}


def test_ranges_exclude_each_other_within_one_tenant(shelves: Sides) -> None:
    shelves.run_pooled(compiled("ALTER TABLE book ADD EXCLUDE USING gist (span WITH &&)"))
    with pytest.raises(psycopg.errors.ExclusionViolation):
        shelves.ask(ACME, "INSERT INTO book VALUES (2, 1, '[4,9)')")


def test_no_two_tenants_have_one_address(sides: Sides) -> None:
    """The exclusion constraint compares tenants as IPv6 addresses: ids that differ by one bit must stay apart."""
    sides.run_pooled(compiled("CREATE TABLE t (span int4range, EXCLUDE USING gist (span WITH &&))"))
    ids = [f"{1 << bit:032x}" for bit in range(0, 128, 3)] + ["0" * 32, "f" * 32]
    for tenant in ids:
        sides.ask(
            f"{tenant[:8]}-{tenant[8:12]}-{tenant[12:16]}-{tenant[16:20]}-{tenant[20:]}",
            "INSERT INTO t VALUES ('[1,5)')",
        )
    with pytest.raises(psycopg.errors.ExclusionViolation):
        sides.ask(str(UUID("f" * 32)), "INSERT INTO t VALUES ('[2,3)')")


def test_a_view_shows_each_tenant_its_own(shelves: Sides) -> None:
    shelves.run_pooled(compiled("CREATE VIEW labels AS SELECT label FROM shelf"))
    assert shelves.ask(GLOBEX, "SELECT label FROM labels") == [("a",)]


def test_a_trigger_writes_for_whom_it_fires(shelves: Sides) -> None:
    shelves.run_pooled(
        compiled(
            """
            CREATE TABLE entry (id serial PRIMARY KEY, said text);
            CREATE FUNCTION enter() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN INSERT INTO entry (said) VALUES (NEW.label); RETURN NULL; END $$;
            CREATE TRIGGER entered AFTER INSERT ON shelf FOR EACH ROW EXECUTE FUNCTION enter()
            """
        )
    )
    shelves.ask(GLOBEX, "INSERT INTO shelf VALUES (7, 'seven')")
    assert shelves.ask(GLOBEX, "SELECT said FROM entry") == [("seven",)]
    assert shelves.ask(ACME, "SELECT said FROM entry") == []


def test_an_upsert_by_the_constraints_name_works_in_a_function(shelves: Sides) -> None:
    shelves.run_pooled(
        compiled(
            "CREATE FUNCTION put() RETURNS void LANGUAGE sql AS $$ INSERT INTO shelf VALUES (1, 'new')"
            " ON CONFLICT ON CONSTRAINT shelf_pkey DO UPDATE SET label = excluded.label $$"
        )
    )
    shelves.ask(GLOBEX, "SELECT put()")
    assert shelves.ask(GLOBEX, "SELECT label FROM shelf") == [("new",)]
    assert shelves.ask(ACME, "SELECT label FROM shelf ORDER BY 1") == [("a",), ("b",)]
