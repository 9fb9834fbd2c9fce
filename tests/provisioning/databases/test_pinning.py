"""A trigger that a cascade sets off runs as the owner of every tenant's tables: where does it look names up?"""

from typing import Any

import psycopg
import pytest

from provisioning.databases import tiers
from provisioning.databases.blueprint import publish
from tenants.states import Tier
from tests.fleet import BILLING
from tests.provisioning.databases.conftest import MakeTenant
from tests.provisioning.databases.making import Made
from tests.shelf import Shelf

CODE = '''migrations.RunSQL("""
    CREATE TABLE secret (word text);
    CREATE TABLE ledger (entry text);
    CREATE TABLE parent (id int PRIMARY KEY);
    CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent ON DELETE CASCADE);
    CREATE TABLE weak (parent int REFERENCES parent ON DELETE SET NULL, note text);
    CREATE FUNCTION told(what text) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN
        RAISE NOTICE '% sees %', what, (SELECT word FROM secret);
        INSERT INTO ledger VALUES (what);
        RETURN true; END $$;
    CREATE FUNCTION spy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        PERFORM told(TG_NAME); RETURN OLD; END $$;
    CREATE TRIGGER before BEFORE DELETE ON child FOR EACH ROW EXECUTE FUNCTION spy();
    CREATE TRIGGER after AFTER DELETE ON child FOR EACH STATEMENT EXECUTE FUNCTION spy();
    CREATE FUNCTION decided() RETURNS void LANGUAGE sql SET search_path = '' AS 'SELECT';
    CREATE FUNCTION standard() RETURNS int LANGUAGE sql RETURN 1;
    CREATE FUNCTION patient() RETURNS int LANGUAGE sql SET work_mem = '8MB' AS 'SELECT 1';
    CREATE PROCEDURE commits() LANGUAGE plpgsql AS $$ BEGIN INSERT INTO ledger VALUES ('kept'); COMMIT; END $$;
    ALTER TABLE weak ADD CHECK (told('check'))
""")'''
AGAIN = '''migrations.RunSQL("""
    CREATE OR REPLACE FUNCTION spy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        PERFORM told(TG_NAME || '!'); RETURN OLD; END $$
""")'''
ROWS = """
    INSERT INTO secret VALUES ('{word}');
    INSERT INTO parent VALUES (1), (2); INSERT INTO child VALUES (1, 1), (2, 2);
    INSERT INTO weak VALUES (1), (2); DELETE FROM ledger
"""
FUNCTIONS = """
    SELECT proname::text, array_to_string(proconfig, '; ') FROM pg_proc
    WHERE pronamespace = to_regnamespace(%s) ORDER BY proname
"""


@pytest.fixture
def pair(house: None, shelf: Shelf, tenant: MakeTenant, superuser: psycopg.Connection) -> tuple[Made, Made]:
    shelf.write("0001_initial", CODE)
    shelf.write("0002_again", AGAIN, before="0001_initial")
    publish(actor=BILLING)
    acme, globex = tenant("acme"), tenant("globex")
    for made in (acme, globex):
        superuser.execute(f"SET search_path = {made.context.schema}".encode())
        superuser.execute(ROWS.format(word=made.context.slug).encode())
    return acme, globex


def attacked(acme: Made, globex: Made, parent: int) -> list[str]:
    """What acme hears after an injected search path, from a DELETE that is its own good right."""
    heard: list[str] = []
    with tiers.connect(acme.context) as session:
        session.add_notice_handler(lambda notice: heard.append(notice.message_primary or ""))
        session.execute(f"SET search_path = {globex.context.schema}, {acme.context.schema}".encode())
        session.execute(f"DELETE FROM {acme.context.schema}.parent WHERE id = {parent}".encode())
    return heard


def ledger(superuser: psycopg.Connection, made: Made) -> list[Any]:
    rows = superuser.execute(f"SELECT entry FROM {made.context.schema}.ledger".encode()).fetchall()
    return sorted(str(entry) for (entry,) in rows)


def test_what_a_cascade_sets_off_stays_in_its_own_schema(
    pair: tuple[Made, Made], superuser: psycopg.Connection
) -> None:
    acme, globex = pair
    said = ["after!", "before!", "check"]
    assert sorted(attacked(acme, globex, 1)) == [f"{each} sees acme" for each in said]
    assert (ledger(superuser, acme), ledger(superuser, globex)) == (said, [])

    schema = acme.context.schema
    for function in ("spy()", "told(text)"):  # as the application wrote them
        superuser.execute(f"ALTER FUNCTION {schema}.{function} RESET search_path".encode())
    assert "SHAPE_DIFFERS" in acme.findings()
    assert sorted(attacked(acme, globex, 2)) == [f"{each} sees globex" for each in said]
    assert ledger(superuser, globex) == said


@pytest.mark.parametrize("tier", [Tier.SCHEMA, Tier.DATABASE])
def test_functions_are_pinned_in_every_copy_and_what_decides_for_itself_is_left(
    tier: Tier, house: None, shelf: Shelf, tenant: MakeTenant
) -> None:
    shelf.write("0001_initial", CODE)
    publish(actor=BILLING)
    made = tenant("acme", tier)
    schema = made.context.schema
    with tiers.connect(made.context) as session:
        found: dict[str, str | None] = dict(session.execute(FUNCTIONS, (schema,)).fetchall())
        session.rollback()
        session.autocommit = True
        session.execute("CALL commits()")
        assert session.execute("SELECT entry FROM ledger").fetchall() == [("kept",)]
    pinned = f"search_path={schema}, pg_temp"
    assert found == {
        "commits": None,
        "decided": 'search_path=""',
        "patient": f"work_mem=8MB; {pinned}",
        "spy": pinned,
        "standard": None,
        "told": pinned,
    }
    assert "SHAPE_DIFFERS" not in made.findings()


def test_whoever_replays_the_migrations_pins_too(house: None, shelf: Shelf) -> None:
    shelf.write("0001_initial", CODE)
    shelf.write("0002_again", AGAIN, before="0001_initial")
    release = publish(actor=BILLING)
    *_sql, last = release.migrations.get(name="0002_again").operations
    pin = f"ALTER FUNCTION spy() SET search_path = {release.placeholder}, pg_temp"
    assert (last["operation"], last["kind"], last["statements"]) == ("end of migration", "schema", [pin])
