"""What cannot be pooled is refused with a reason and with what to write instead."""

import pytest

from provisioning.databases.pooling import CannotPool, compiled, separated
from provisioning.databases.statements import Kind

BODY = "LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$"
REFUSED = {
    "a DO block": ("DO $$ BEGIN CREATE TABLE t (id int); END $$", "only seen when it runs"),
    "a table made of a query": ("CREATE TABLE t AS SELECT 1 AS id", "without a tenant"),
    "a table made of a query, older form": ("SELECT 1 AS id INTO t", "without a tenant"),
    "a partitioned table": ("CREATE TABLE t (id int) PARTITION BY RANGE (id)", "not inherited by partitions"),
    "a partition": ("CREATE TABLE t1 PARTITION OF t DEFAULT", "not inherited by partitions"),
    "an attached partition": ("ALTER TABLE t ATTACH PARTITION t1 DEFAULT", "partitions and children"),
    "an heir": ("CREATE TABLE t (id int) INHERITS (u)", "inherits"),
    "a later heir": ("ALTER TABLE t INHERIT u", "partitions and children"),
    "a table of a type": ("CREATE TABLE t OF pair", "of a type"),
    "a table like another": ("CREATE TABLE t (LIKE u INCLUDING ALL)", "LIKE"),
    "a temporary table": ("CREATE TEMPORARY TABLE t (id int)", "temporary"),
    "a tablespace": ("CREATE TABLE t (id int) TABLESPACE fast", "Where"),
    "our column": ("CREATE TABLE t (id int, tenant_id uuid)", "the pool's own"),
    "our column, later": ("ALTER TABLE t ADD COLUMN tenant_id int", "the pool's own"),
    "our column, renamed to": ("ALTER TABLE t RENAME COLUMN customer TO tenant_id", "the pool's own"),
    "our column, dropped": ("ALTER TABLE t DROP COLUMN tenant_id", "the pool's own"),
    "our column, opened": ("ALTER TABLE t ALTER COLUMN tenant_id DROP NOT NULL", "the pool's own"),
    "our column, redirected": ("ALTER TABLE t ALTER COLUMN tenant_id SET DEFAULT gen_random_uuid()", "the pool's own"),
    "our column, in an index": ("CREATE INDEX ON t (tenant_id)", "the pool's own"),
    "row security switched off": ("ALTER TABLE t DISABLE ROW LEVEL SECURITY", "Row security is what"),
    "row security not forced": ("ALTER TABLE t ADD COLUMN x int, NO FORCE ROW LEVEL SECURITY", "Row security is what"),
    "another policy": ("CREATE POLICY open ON t USING (true)", "second policy"),
    "our policy altered": ("ALTER POLICY tenure ON t USING (true)", "not the application's"),
    "our policy dropped": ("DROP POLICY tenure ON t", "no policy of its own"),
    "our policy renamed": ("ALTER POLICY tenure ON t RENAME TO x", "no policy of its own"),
    "another owner": ("ALTER TABLE t OWNER TO postgres", "one owner"),
    "foreign keys' triggers": ("ALTER TABLE t DISABLE TRIGGER ALL", "foreign keys' own"),
    "an update that empties the key": (
        "CREATE TABLE t (u int REFERENCES u ON UPDATE SET NULL)",
        "cannot be told to spare it",
    ),
    "a full match over two columns": (
        "ALTER TABLE t ADD FOREIGN KEY (a, b) REFERENCES u MATCH FULL",
        "MATCH FULL over several",
    ),
    "a key over time": ("ALTER TABLE t ADD PRIMARY KEY (id, period WITHOUT OVERLAPS)", "WITHOUT OVERLAPS"),
    "a reference over time": (
        "ALTER TABLE t ADD FOREIGN KEY (id, PERIOD p) REFERENCES u (id, PERIOD p)",
        "PERIOD",
    ),
    "a reference to what is shared": (
        "ALTER TABLE t ADD FOREIGN KEY (m) REFERENCES django_migrations",
        "shared by the tenants",
    ),
    "an exclusion by hash": ("ALTER TABLE t ADD EXCLUDE USING hash (a WITH =)", "cannot compare tenants"),
    "an index of an extension": ("CREATE INDEX ON t USING bloom (a)", "needs an extension"),
    "a view of everything": ("CREATE VIEW v AS SELECT * FROM t", "*"),
    "a view of everything, deeper": ("CREATE VIEW v AS SELECT 1 WHERE EXISTS (SELECT t.* FROM t)", "*"),
    "a view with its owner's eyes": ("ALTER VIEW v SET (security_invoker = false)", "whoever asks"),
    "a temporary view": ("CREATE TEMP VIEW v AS SELECT 1", "temporary"),
    "a definer's function": (f"CREATE FUNCTION f() RETURNS trigger SECURITY DEFINER {BODY}", "SECURITY DEFINER"),
    "a definer's function, later": ("ALTER FUNCTION f() SECURITY DEFINER", "SECURITY DEFINER"),
    "a leakproof function": (f"CREATE FUNCTION f() RETURNS trigger LEAKPROOF {BODY}", "LEAKPROOF"),
    "a function that sets our setting": (
        f"CREATE FUNCTION f() RETURNS trigger SET tenure.seal = 'x' {BODY}",
        "must not set",
    ),
    "a function with a role": (f"CREATE FUNCTION f() RETURNS trigger SET role = postgres {BODY}", "must not set"),
    "a function in C": ("CREATE FUNCTION f() RETURNS int LANGUAGE c AS 'lib', 'f'", "not held by row security"),
    "a function in another language": (
        "CREATE FUNCTION f() RETURNS int LANGUAGE plpython3u AS 'return 1'",
        "not held by row security",
    ),
    "an upsert in a function": (
        (
            "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS"
            " $$ BEGIN INSERT INTO t VALUES (1) ON /* x */ conflict (id) DO NOTHING; END $$"
        ),
        "finds no unique index",
    ),
    "an upsert in a standard body": (
        "CREATE FUNCTION f() RETURNS void BEGIN ATOMIC INSERT INTO t VALUES (1) ON CONFLICT (id) DO NOTHING; END",
        "finds no unique index",
    ),
    "a rule": ("CREATE RULE r AS ON INSERT TO t DO INSTEAD NOTHING", "rewrites statements"),
    "truncation": ("TRUNCATE t", "every tenant's table"),
    "a sequence set back": ("ALTER SEQUENCE s RESTART WITH 1", "never go back"),
    "a transaction of its own": ("BEGIN; CREATE TABLE t (id int); COMMIT", "opened and closed"),
    "a grant": ("GRANT SELECT ON t TO PUBLIC", "not the application's"),
    "a default grant": ("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC", "not the application's"),
    "a role": ("CREATE ROLE r", "not the application's"),
    "another role": ("SET ROLE postgres", "The setting role"),
    "another search path": ("SET search_path = public", "The setting search_path"),
    "row security as a setting": ("SET row_security = off", "The setting row_security"),
    "every setting": ("RESET ALL", "The setting ALL"),
    "an extension": ("CREATE EXTENSION hstore", "belongs to a database"),
    "an event trigger": ("CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION f()", "whole database"),
    "a security label": ("SECURITY LABEL ON TABLE t IS 'x'", "not the application's"),
    "a schema": ("CREATE SCHEMA s", "one schema"),
    "another schema": ("ALTER TABLE t SET SCHEMA s", "one schema"),
    "a dropped schema": ("DROP SCHEMA s CASCADE", "no schema of its own"),
    "a publication": ("CREATE PUBLICATION p FOR ALL TABLES", "every tenant's rows"),
    "a foreign table": ("CREATE FOREIGN TABLE t (id int) SERVER s", "no row security"),
    "the shared table dropped": ("DROP TABLE django_migrations", "shared by the tenants"),
    "the shared table renamed": ("ALTER TABLE t RENAME TO django_migrations", "shared by the tenants"),
    "a trigger on the shared table": (
        "CREATE TRIGGER t AFTER INSERT ON django_migrations EXECUTE FUNCTION f()",
        "shared by the tenants",
    ),
    "an operator": ("CREATE OPERATOR === (FUNCTION = f, LEFTARG = int, RIGHTARG = int)", "not known to be safe"),
    "a cast": ("CREATE CAST (text AS int) WITH INOUT", "not known to be safe"),
    "something nobody has thought of": ("CREATE ACCESS METHOD m TYPE INDEX HANDLER f", "not known to be safe"),
    "what PostgreSQL cannot read": ("CREATE TABEL t", "cannot read it"),
}


@pytest.mark.parametrize(("statement", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_it_is_refused_with_a_reason_and_a_way_out(statement: str, said: str) -> None:
    with pytest.raises(CannotPool) as refused:
        compiled(statement)
    assert said in refused.value.reason
    assert refused.value.instead.endswith(".")
    assert refused.value.statement in statement
    assert refused.value.code == "CANNOT_POOL"


def test_one_refused_statement_refuses_the_text_it_stands_in() -> None:
    with pytest.raises(CannotPool) as refused:
        compiled("CREATE TABLE t (id int); GRANT SELECT ON t TO PUBLIC; DROP TABLE t")
    assert refused.value.statement == "GRANT SELECT ON t TO PUBLIC"


def test_rows_are_not_the_compilers_business() -> None:
    text = "ALTER TABLE t ADD x int; UPDATE t SET x = 'a;b'::text::int; WITH w AS (DELETE FROM t RETURNING 1) SELECT 1"
    assert compiled(text) == "ALTER TABLE t ADD x int"
    assert [kind for kind, _text in separated(text)] == [Kind.SCHEMA, Kind.DATA, Kind.DATA]
    assert separated("UPDATE t SET name = 'Ä;'; DROP TABLE u") == [
        (Kind.DATA, "UPDATE t SET name = 'Ä;'"),
        (Kind.SCHEMA, "DROP TABLE u"),
    ]


def test_a_language_that_is_everywhere_needs_no_extension() -> None:
    assert compiled("CREATE EXTENSION IF NOT EXISTS plpgsql WITH SCHEMA pg_catalog") == ""


def test_what_the_application_says_of_the_shared_table_stands() -> None:
    text = "ALTER TABLE django_migrations ADD CONSTRAINT k UNIQUE (app, name)"
    assert compiled(text) == text
    assert "tenant_id" not in compiled("CREATE TABLE django_migrations (id int PRIMARY KEY)")
