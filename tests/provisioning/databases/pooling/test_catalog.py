"""The catalog check: a pool that is as the compiler made it is clean, and everything done to it by hand is found."""

import pytest

from provisioning.databases.pooling import POLICY, compiled, faults, grant
from provisioning.databases.pooling.catalog import SEVERITIES
from tenants.findings import Severity
from tests.provisioning.databases.pooling.side import Sides

TABLES = """
    CREATE TABLE django_migrations (id serial PRIMARY KEY, app text);
    CREATE TABLE shelf (id int PRIMARY KEY, label text UNIQUE);
    CREATE TABLE book (id serial PRIMARY KEY, shelf_id int CONSTRAINT on_shelf REFERENCES shelf ON DELETE CASCADE,
        span int4range, EXCLUDE USING gist (span WITH &&));
    CREATE INDEX by_shelf ON book (shelf_id);
    CREATE VIEW labels AS SELECT label FROM shelf;
    CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
    CREATE TYPE span AS RANGE (subtype = int)
"""
# What somebody does to the pool, as a superuser, and what is then found.
DAMAGE = {
    "a table without the tenant": (
        "CREATE TABLE {pool}.t (id int)",
        {"TENANT_COLUMN", "ROW_SECURITY_OFF", "POLICY_DIFFERS"},
    ),
    "a tenant that may be empty": (
        "ALTER TABLE {pool}.shelf DROP CONSTRAINT shelf_pkey CASCADE, ALTER tenant_id DROP NOT NULL",
        {"TENANT_COLUMN"},
    ),
    "another default": ("ALTER TABLE {pool}.shelf ALTER tenant_id SET DEFAULT gen_random_uuid()", {"TENANT_COLUMN"}),
    "no default": ("ALTER TABLE {pool}.shelf ALTER tenant_id DROP DEFAULT", {"TENANT_COLUMN"}),
    "row security off": ("ALTER TABLE {pool}.shelf DISABLE ROW LEVEL SECURITY", {"ROW_SECURITY_OFF"}),
    "row security not forced": ("ALTER TABLE {pool}.shelf NO FORCE ROW LEVEL SECURITY", {"ROW_SECURITY_OFF"}),
    "no policy": ("DROP POLICY tenure ON {pool}.shelf", {"POLICY_DIFFERS"}),
    "a second policy": ("CREATE POLICY more ON {pool}.shelf USING (true)", {"POLICY_DIFFERS"}),
    "a policy that lets all rows be seen": ("ALTER POLICY tenure ON {pool}.shelf USING (true)", {"POLICY_DIFFERS"}),
    "a policy that lets all rows be written": (
        "ALTER POLICY tenure ON {pool}.shelf WITH CHECK (true)",
        {"POLICY_DIFFERS"},
    ),
    "a policy with a gap": (
        "ALTER POLICY tenure ON {pool}.shelf USING (tenant_id = tenure_guard.tenant() OR label = 'x')",
        {"POLICY_DIFFERS"},
    ),
    "a policy that the planner cannot see into": (
        "ALTER POLICY tenure ON {pool}.shelf USING (tenant_id = (SELECT tenure_guard.tenant()))",
        {"POLICY_DIFFERS"},
    ),
    "a policy for some": ("ALTER POLICY tenure ON {pool}.shelf TO {app}", {"POLICY_DIFFERS"}),
    "a foreign key without the tenant": (
        (
            "CREATE UNIQUE INDEX u ON {pool}.shelf (id);"
            " ALTER TABLE {pool}.book ADD FOREIGN KEY (shelf_id) REFERENCES {pool}.shelf (id) ON DELETE CASCADE"
        ),
        {"FOREIGN_KEY_CROSSES", "KEY_SPANS_TENANTS"},
    ),
    "a foreign key that only asks": (
        (
            "CREATE UNIQUE INDEX u ON {pool}.shelf (id);"
            " ALTER TABLE {pool}.book ADD FOREIGN KEY (shelf_id) REFERENCES {pool}.shelf (id)"
        ),
        {"FOREIGN_KEY_ASKS", "KEY_SPANS_TENANTS"},
    ),
    "a foreign key that empties the tenant": (
        "ALTER TABLE {pool}.book ADD FOREIGN KEY (tenant_id, shelf_id) REFERENCES {pool}.shelf ON DELETE SET NULL",
        {"FOREIGN_KEY_EMPTIES"},
    ),
    "a foreign key into the shared table": (
        "ALTER TABLE {pool}.book ADD FOREIGN KEY (shelf_id) REFERENCES {pool}.django_migrations",
        {"FOREIGN_KEY_ASKS"},
    ),
    "a foreign key from outside": (
        "CREATE TABLE public.{app} (a uuid, b int, FOREIGN KEY (a, b) REFERENCES {pool}.shelf)",
        {"FOREIGN_KEY_ASKS"},
    ),
    "a unique constraint over all tenants": ("ALTER TABLE {pool}.shelf ADD UNIQUE (label)", {"KEY_SPANS_TENANTS"}),
    "the tenant behind": ("CREATE UNIQUE INDEX ON {pool}.shelf (label, tenant_id)", {"KEY_SPANS_TENANTS"}),
    "an exclusion over all tenants": (
        "ALTER TABLE {pool}.book ADD EXCLUDE USING gist (span WITH &&)",
        {"KEY_SPANS_TENANTS"},
    ),
    "an exclusion by another address": (
        "ALTER TABLE {pool}.book ADD EXCLUDE USING gist (('::1'::inet) inet_ops WITH =, span WITH &&)",
        {"KEY_SPANS_TENANTS"},
    ),
    "an index over all tenants": ("CREATE INDEX ON {pool}.shelf (label)", {"INDEX_SPANS_TENANTS"}),
    "a table without any key": (
        compiled("CREATE TABLE t (id int)").replace(" t ", " {pool}.t ").replace('"t"', "{pool}.t"),
        {"TENANT_NOT_INDEXED"},
    ),
    "an heir": (
        "CREATE TABLE {pool}.heir () INHERITS ({pool}.shelf)",
        {"INHERITS", "ROW_SECURITY_OFF", "POLICY_DIFFERS", "TENANT_NOT_INDEXED"},
    ),
    "a materialized view": ("CREATE MATERIALIZED VIEW {pool}.m AS SELECT label FROM {pool}.shelf", {"KIND_NOT_POOLED"}),
    "a materialized view elsewhere": (
        "CREATE MATERIALIZED VIEW public.m_{app} AS SELECT label FROM {pool}.shelf",
        {"VIEW_SEES_ALL"},
    ),
    "a view with its owner's eyes": ("ALTER VIEW {pool}.labels RESET (security_invoker)", {"VIEW_NOT_INVOKER"}),
    "a superuser's view elsewhere": ("CREATE VIEW public.v_{app} AS SELECT label FROM {pool}.shelf", {"VIEW_SEES_ALL"}),
    "a definer's function": ("ALTER FUNCTION {pool}.touch() SECURITY DEFINER", {"RUNS_AS_OWNER"}),
    "a leakproof function": ("ALTER FUNCTION {pool}.touch() LEAKPROOF", {"LEAKPROOF_FUNCTION"}),
    "a definer's trigger": (
        (
            "CREATE TRIGGER t AFTER INSERT ON {pool}.shelf EXECUTE FUNCTION {pool}.touch();"
            " ALTER FUNCTION {pool}.touch() SECURITY DEFINER"
        ),
        {"RUNS_AS_OWNER", "TRIGGER_AS_OWNER"},
    ),
    "a trigger inside a cascade": (
        "CREATE TRIGGER t BEFORE DELETE ON {pool}.book FOR EACH ROW EXECUTE FUNCTION {pool}.touch()",
        {"TRIGGER_IN_CASCADE"},
    ),
    "a trigger after a cascade that looks where it is told": (
        "CREATE TRIGGER t AFTER DELETE ON {pool}.book FOR EACH ROW EXECUTE FUNCTION {pool}.touch()",
        {"PATH_IN_CASCADE"},
    ),
    "a function inside a cascade": (
        (
            "CREATE FUNCTION {pool}.so(int) RETURNS bool LANGUAGE sql RETURN true;"
            " REVOKE ALL ON FUNCTION {pool}.so FROM PUBLIC; ALTER TABLE {pool}.book ADD CHECK ({pool}.so(shelf_id)),"
            " ADD FOREIGN KEY (tenant_id, shelf_id) REFERENCES {pool}.shelf ON DELETE SET NULL (shelf_id)"
        ),
        {"FUNCTION_IN_CASCADE"},
    ),
    "a rule": ("CREATE RULE r AS ON INSERT TO {pool}.shelf DO ALSO NOTHING", {"RULE"}),
    "rights for all": ("GRANT SELECT ON {pool}.shelf TO PUBLIC", {"GRANTED_TO_ALL"}),
    "rights for all on a column": ("GRANT SELECT (label) ON {pool}.shelf TO PUBLIC", {"GRANTED_TO_ALL"}),
    "rights for all on a function": ("GRANT EXECUTE ON FUNCTION {pool}.touch() TO PUBLIC", {"GRANTED_TO_ALL"}),
    "rights for all on the schema": ("GRANT USAGE ON SCHEMA {pool} TO PUBLIC", {"GRANTED_TO_ALL"}),
    "truncation": ("GRANT TRUNCATE ON {pool}.shelf TO {app}", {"RIGHT_TOO_WIDE"}),
    "references": ("GRANT REFERENCES (label) ON {pool}.shelf TO {app}", {"RIGHT_TOO_WIDE"}),
    "triggers": ("GRANT TRIGGER ON {pool}.shelf TO {app}", {"RIGHT_TOO_WIDE"}),
    "maintenance": ("GRANT MAINTAIN ON {pool}.shelf TO {app}", {"RIGHT_TOO_WIDE"}),
    "writing what is shared": ("GRANT INSERT ON {pool}.django_migrations TO {app}", {"RIGHT_TOO_WIDE"}),
    "a publication": ("CREATE PUBLICATION p_{app} FOR TABLE {pool}.shelf", {"PUBLISHED"}),
    "a partitioned table": (
        compiled("CREATE TABLE t (id int)").split(";")[0].replace("TABLE t", "TABLE {pool}.t")
        + " PARTITION BY HASH (id)",
        {"PARTITIONED", "ROW_SECURITY_OFF", "POLICY_DIFFERS"},
    ),
}


@pytest.fixture
def pool(sides: Sides) -> Sides:
    sides.run_pooled(compiled(TABLES))
    assert sides.faults() == []
    return sides


def damaged(pool: Sides, statement: str) -> None:
    pool.connection.execute(statement.format(pool=pool.pool, app=pool.app).encode())


@pytest.mark.parametrize(("damage", "codes"), DAMAGE.values(), ids=DAMAGE.keys())
def test_what_is_done_by_hand_is_found(pool: Sides, damage: str, codes: set[str]) -> None:
    damaged(pool, damage)
    assert set(pool.faults()) == codes
    assert all(fault.hint for fault in faults(pool.connection, pool.pool))


def test_each_code_can_be_found(pool: Sides) -> None:
    assert set().union(*(codes for _damage, codes in DAMAGE.values())) == SEVERITIES.keys()


def test_the_hint_repairs(pool: Sides) -> None:
    """Of faults whose repair is a statement."""
    damaged(
        pool, "ALTER TABLE {pool}.shelf DISABLE ROW LEVEL SECURITY; ALTER POLICY tenure ON {pool}.shelf USING (true)"
    )
    damaged(pool, "ALTER VIEW {pool}.labels RESET (security_invoker); GRANT TRUNCATE ON {pool}.book TO PUBLIC")
    damaged(pool, "ALTER FUNCTION {pool}.touch() SECURITY DEFINER; CREATE POLICY open ON {pool}.book USING (true)")
    damaged(pool, "CREATE RULE r AS ON INSERT TO {pool}.shelf DO ALSO NOTHING")
    found = list(faults(pool.connection, pool.pool))
    assert len(found) == 7
    for fault in found:
        pool.connection.execute(fault.hint.encode())
    assert pool.faults() == []


def rights(pool: Sides) -> dict[str, str]:
    """What the group may do, by object; the constructors of a range type are left out."""
    query = """
        SELECT name, string_agg(privilege_type, ' ' ORDER BY privilege_type) FROM (
            SELECT relname::text, (aclexplode(relacl)).* FROM pg_class WHERE relnamespace = to_regnamespace(%(pool)s)
            UNION ALL
            SELECT proname::text, (aclexplode(proacl)).* FROM pg_proc WHERE pronamespace = to_regnamespace(%(pool)s)
            UNION ALL
            SELECT 'schema', (aclexplode(nspacl)).* FROM pg_namespace WHERE nspname = %(pool)s
        ) AS held (name, grantor, grantee, privilege_type, is_grantable)
        WHERE grantee = to_regrole(%(app)s) AND name NOT LIKE 'span%%' GROUP BY name
    """
    return dict(pool.connection.execute(query, {"pool": pool.pool, "app": pool.app}).fetchall())


def test_the_group_gets_what_a_tenant_needs_and_no_more(pool: Sides) -> None:
    assert rights(pool) == {}
    for _time in range(2):
        assert grant(pool.connection, pool.pool, pool.app) == []
        assert rights(pool) == {
            "schema": "USAGE",
            "book": "DELETE INSERT SELECT UPDATE",
            "shelf": "DELETE INSERT SELECT UPDATE",
            "labels": "DELETE INSERT SELECT UPDATE",
            "book_id_seq": "SELECT USAGE",
            "django_migrations": "SELECT",
            "touch": "EXECUTE",
        }


def test_a_table_with_a_fault_gets_no_rights_and_loses_those_it_had(pool: Sides) -> None:
    grant(pool.connection, pool.pool, pool.app)
    damaged(pool, "ALTER POLICY tenure ON {pool}.shelf USING (true); CREATE TABLE {pool}.born_open (id int)")
    damaged(pool, "ALTER FUNCTION {pool}.touch() SECURITY DEFINER")
    found = grant(pool.connection, pool.pool, pool.app)
    assert {fault.severity for fault in found} == {Severity.CRITICAL}
    assert rights(pool).keys() == {"schema", "book", "labels", "book_id_seq", "django_migrations"}


def test_a_warning_takes_nothing_away(pool: Sides) -> None:
    damaged(pool, "CREATE INDEX ON {pool}.shelf (label)")
    (found,) = grant(pool.connection, pool.pool, pool.app)
    assert found.severity == Severity.WARNING
    assert "shelf" in rights(pool)


def test_the_policy_is_named_for_us(pool: Sides) -> None:
    damaged(pool, f"ALTER POLICY {POLICY} ON {{pool}}.shelf RENAME TO other")
    assert pool.faults() == ["POLICY_DIFFERS"]
