"""What referential actions set off in a pool: what could run past row security is refused, the rest is held by it."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from provisioning.databases.pooling import compiled
from tests.provisioning.databases.pooling.side import ACME, GLOBEX, Sides

TABLES = """
    CREATE TABLE parent (id int PRIMARY KEY);
    CREATE TABLE child (id int PRIMARY KEY,
        parent int CONSTRAINT gone REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE, note text);
    CREATE TABLE weak (id int PRIMARY KEY, child int DEFAULT 9 CONSTRAINT emptied REFERENCES child ON DELETE SET NULL,
        note text, half int GENERATED ALWAYS AS (child / 2) STORED);
    CREATE TABLE secret (id int PRIMARY KEY, word text);
    CREATE FUNCTION read() RETURNS text LANGUAGE plpgsql AS $$ BEGIN
        RETURN (SELECT string_agg(word, ',' ORDER BY id) FROM secret); END $$;
    CREATE FUNCTION told(what text) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN
        RAISE NOTICE '% sees %', what, read(); RETURN true; END $$;
    CREATE FUNCTION spy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        RAISE NOTICE '% sees %', TG_NAME, read();
        UPDATE secret SET word = word || '!';
        DELETE FROM secret WHERE id > 5;
        RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
    END $$;
"""
CLEAR = "DELETE FROM weak; DELETE FROM child; DELETE FROM parent;"
START = f"""
    {CLEAR} DELETE FROM secret;
    INSERT INTO parent VALUES (1); INSERT INTO child VALUES (1, 1); INSERT INTO weak VALUES (1, 1);
"""
SPY = "EXECUTE FUNCTION spy()"
HELD = {
    "after a row": f"CREATE TRIGGER t AFTER {{event}} ON {{table}} FOR EACH ROW {SPY}",
    "after a statement": f"CREATE TRIGGER t AFTER {{event}} ON {{table}} FOR EACH STATEMENT {SPY}",
    "with the rows of the statement": (
        f"CREATE TRIGGER t AFTER {{event}} ON {{table}} REFERENCING OLD TABLE AS o FOR EACH STATEMENT {SPY}"
    ),
    "at the end of the transaction": (
        f"CREATE CONSTRAINT TRIGGER t AFTER {{event}} ON {{table}} INITIALLY DEFERRED FOR EACH ROW {SPY}"
    ),
}
NOT_HELD = {
    "before a row": f"CREATE TRIGGER t BEFORE {{event}} ON {{table}} FOR EACH ROW {SPY}",
    "before a statement": f"CREATE TRIGGER t BEFORE {{event}} ON {{table}} FOR EACH STATEMENT {SPY}",
}
# The table that a cascade reaches, and the statement of acme's that sets it off; the second is a cascade of a cascade.
REACHED = {
    "deleted": ("child", "DELETE", "DELETE FROM parent"),
    "emptied, by a cascade of a cascade": ("weak", "UPDATE", "DELETE FROM parent"),
    "updated": ("child", "UPDATE", "UPDATE parent SET id = 2"),
}
# Triggers and whether acme's DELETE FROM parent or UPDATE parent can set them off.
EXACTLY = {
    "BEFORE INSERT ON child": False,
    "BEFORE DELETE ON child": True,
    "BEFORE UPDATE ON child": True,
    "BEFORE UPDATE OF note ON child": False,
    "BEFORE UPDATE OF parent ON child": True,
    "BEFORE UPDATE OF parent, note ON child": True,
    "BEFORE UPDATE OF note OR DELETE ON child": True,
    "BEFORE DELETE ON weak": False,
    "BEFORE UPDATE ON weak": True,
    "BEFORE UPDATE OF note ON weak": False,
    "BEFORE UPDATE OF id ON weak": False,
    "BEFORE UPDATE OF child ON weak": True,
    "BEFORE UPDATE OF half ON weak": True,
    "BEFORE DELETE OR INSERT ON weak": False,
    "BEFORE DELETE ON parent": False,
    "BEFORE UPDATE ON secret": False,
}
FUNCTIONS = {
    "a check": ("ALTER TABLE weak ADD CHECK (told('it'))", {"FUNCTION_IN_CASCADE"}),
    "a check where rows are only deleted": ("ALTER TABLE parent ADD CHECK (told('it'))", set()),
    "a condition": (
        "CREATE TRIGGER t AFTER UPDATE ON weak FOR EACH ROW WHEN (told(NEW.note)) EXECUTE FUNCTION spy()",
        {"FUNCTION_IN_CASCADE"},
    ),
    "a condition of another column": (
        "CREATE TRIGGER t AFTER UPDATE OF note ON weak FOR EACH ROW WHEN (told(NEW.note)) EXECUTE FUNCTION spy()",
        set(),
    ),
    "a domain": (
        (
            "CREATE DOMAIN d AS int CHECK (told('it'));"
            " CREATE TABLE w (id int PRIMARY KEY, child d REFERENCES child ON DELETE SET NULL)"
        ),
        {"FUNCTION_IN_CASCADE"},
    ),
    "an index": ("CREATE INDEX ON weak (stable(note))", {"FUNCTION_IN_CASCADE"}),
    "an index of some": ("CREATE INDEX ON weak (id) WHERE stable(note) = 'x'", {"FUNCTION_IN_CASCADE"}),
    "a generated column": (
        "ALTER TABLE weak ADD more text GENERATED ALWAYS AS (stable(note)) STORED",
        {"FUNCTION_IN_CASCADE"},
    ),
    "a default of the key": (
        (
            "ALTER TABLE weak ALTER child SET DEFAULT length(read()), DROP CONSTRAINT emptied,"
            " ADD FOREIGN KEY (child) REFERENCES child ON DELETE SET DEFAULT"
        ),
        {"FUNCTION_IN_CASCADE"},
    ),
    "a default of another column": ("ALTER TABLE weak ALTER note SET DEFAULT read()", set()),
    "PostgreSQL's own": ("ALTER TABLE weak ADD CHECK (length(note) < 9)", set()),
}


class Notices:
    def __init__(self, connection: psycopg.Connection) -> None:
        self.said: list[str] = []
        connection.add_notice_handler(lambda notice: self.said.append(notice.message_primary or ""))


@pytest.fixture
def pool(sides: Sides) -> Sides:
    sides.run_pooled(compiled(TABLES))
    for function in ("read()", "told(text)", "spy()"):
        sides.run_pooled(f"ALTER FUNCTION {function} SET search_path = {sides.pool}, pg_temp")
    assert sides.faults() == []
    sides.connection.execute(
        f"GRANT USAGE ON SCHEMA {sides.pool}, {sides.plain} TO {sides.app};"
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {sides.pool} TO {sides.app};"
        f"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA {sides.pool} TO {sides.app}".encode()
    )
    for tenant in (ACME, GLOBEX):
        name = "acme" if tenant == ACME else "globex"
        said(sides, START + f"INSERT INTO secret VALUES (1, '{name}'), (6, '{name}')", tenant)
    return sides


@contextmanager
def as_tenant(pool: Sides, tenant: str) -> Iterator[None]:
    """A session of the pool's shared role, which owns nothing, let in as one tenant."""
    with pool.connection.transaction():
        pool.connection.execute(f"SET LOCAL ROLE {pool.app}; SET LOCAL search_path = {pool.pool}".encode())
        pool.connection.execute("SELECT set_config('tenure.seal', %s, true)", (tenant,))
        yield


def said(pool: Sides, statements: str, tenant: str = ACME) -> list[str]:
    """What the database said aloud while a tenant's statements ran, to the end of their transaction."""
    notices = Notices(pool.connection)
    with as_tenant(pool, tenant):
        pool.connection.execute(statements.encode())
    return [each for each in notices.said if " sees " in each]


def secrets_of(pool: Sides, tenant: str) -> list[str]:
    query = f"SELECT word FROM {pool.pool}.secret WHERE tenant_id = %s ORDER BY id"
    return [str(word) for (word,) in pool.connection.execute(query.encode(), (tenant,)).fetchall()]


@pytest.mark.parametrize("trigger", HELD.values(), ids=HELD.keys())
@pytest.mark.parametrize(("table", "event", "act"), REACHED.values(), ids=REACHED.keys())
def test_a_trigger_after_a_cascade_reaches_only_its_own_tenants_rows(
    trigger: str, table: str, event: str, act: str, pool: Sides
) -> None:
    pool.run_pooled(trigger.format(table=table, event=event))
    assert pool.faults() == []
    assert said(pool, act) == ["t sees acme,acme"]
    assert (secrets_of(pool, ACME), secrets_of(pool, GLOBEX)) == (["acme!"], ["globex", "globex"])


@pytest.mark.parametrize("trigger", NOT_HELD.values(), ids=NOT_HELD.keys())
@pytest.mark.parametrize(("table", "event", "act"), REACHED.values(), ids=REACHED.keys())
def test_a_trigger_before_a_cascade_would_reach_every_tenants_rows_and_is_refused(
    trigger: str, table: str, event: str, act: str, pool: Sides
) -> None:
    pool.run_pooled(trigger.format(table=table, event=event))
    assert set(pool.faults()) == {"TRIGGER_IN_CASCADE"}
    (what,) = said(pool, act)
    assert "globex" in what
    assert secrets_of(pool, GLOBEX) == ["globex!"]


@pytest.mark.parametrize("trigger", EXACTLY)
def test_exactly_the_triggers_that_a_cascade_can_set_off_are_refused(trigger: str, pool: Sides) -> None:
    set_off = EXACTLY[trigger]
    pool.run_pooled(f"CREATE TRIGGER t {trigger} FOR EACH ROW WHEN (true) EXECUTE FUNCTION spy()")
    assert set(pool.faults()) == ({"TRIGGER_IN_CASCADE"} if set_off else set())
    without_own = trigger.endswith("parent")  # a trigger of the table that acme itself changes is no cascade's
    heard = said(pool, "UPDATE parent SET id = 2; DELETE FROM parent")
    assert without_own or bool(heard) == set_off


def test_a_trigger_that_is_switched_off_is_not_refused_until_it_is_switched_on(pool: Sides) -> None:
    pool.run_pooled("CREATE TRIGGER t BEFORE DELETE ON child EXECUTE FUNCTION spy()")
    pool.run_pooled("ALTER TABLE child DISABLE TRIGGER t")
    assert pool.faults() == []
    pool.run_pooled("ALTER TABLE child ENABLE ALWAYS TRIGGER t")
    assert pool.faults() == ["TRIGGER_IN_CASCADE"]


@pytest.mark.parametrize(("statement", "codes"), FUNCTIONS.values(), ids=FUNCTIONS.keys())
def test_functions_that_a_cascade_runs_are_refused(statement: str, codes: set[str], pool: Sides) -> None:
    for tenant in (ACME, GLOBEX):
        said(pool, CLEAR, tenant)
    pool.run_pooled("CREATE FUNCTION stable(text) RETURNS text LANGUAGE sql IMMUTABLE RETURN $1")
    pool.run_pooled(compiled(statement))
    assert set(pool.faults()) == codes


def test_a_check_inside_a_cascade_would_see_every_tenants_rows(pool: Sides) -> None:
    """And what it called keeps its plan, which has no policies, for the trigger that follows."""
    pool.run_pooled("ALTER TABLE weak ADD CONSTRAINT c CHECK (told('check')) NOT VALID")
    pool.run_pooled("CREATE TRIGGER t AFTER UPDATE ON weak FOR EACH ROW EXECUTE FUNCTION spy()")
    assert said(pool, "UPDATE weak SET note = 'x'") == ["check sees acme,acme", "t sees acme,acme"]
    check, after = said(pool, "DELETE FROM parent")
    assert "globex" in check
    assert "globex" in after
    pool.run_pooled("ALTER TABLE weak DROP CONSTRAINT c")


def test_a_trigger_after_a_cascade_stays_in_the_pool_on_any_search_path(pool: Sides) -> None:
    """It runs as the owner, who also owns the tenants of the schema tier: `plain` stands for one of those."""
    pool.run_plain("CREATE TABLE secret (id int PRIMARY KEY, word text); INSERT INTO secret VALUES (1, 'initech')")
    pool.run_pooled("CREATE TRIGGER t AFTER DELETE ON child FOR EACH ROW EXECUTE FUNCTION spy()")
    attack = f"SET LOCAL search_path = {pool.plain}; DELETE FROM {pool.pool}.parent"
    with pytest.raises(psycopg.errors.InsufficientPrivilege), as_tenant(pool, ACME):
        pool.connection.execute(f"SELECT * FROM {pool.plain}.secret".encode())
    assert said(pool, attack) == ["t sees acme,acme"]

    pool.run_pooled("ALTER FUNCTION spy() RESET search_path; ALTER FUNCTION read() RESET search_path")
    assert pool.faults() == ["PATH_IN_CASCADE"]
    said(pool, START)
    with pytest.raises(psycopg.errors.UndefinedFunction, match="read"):
        said(pool, attack)
    assert said(pool, attack.replace(";", f", {pool.pool};", 1)) == ["t sees initech"]
