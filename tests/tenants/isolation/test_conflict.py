import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import sql

from tenants.isolation.db.pooled.conflict import pooled_query, with_tenant_in_targets

CHANGED = {
    "INSERT INTO x ON CONFLICT (a) DO NOTHING": "INSERT INTO x ON CONFLICT (tenant_id, a) DO NOTHING",
    'on conflict("a", b) do update set a = 1': 'on conflict(tenant_id, "a", b) do update set a = 1',
    "ON CONFLICT (lower(email)) WHERE live DO NOTHING": "ON CONFLICT (tenant_id, lower(email)) WHERE live DO NOTHING",
    "ON CONFLICT ((a->>'x')) DO NOTHING": "ON CONFLICT (tenant_id, (a->>'x')) DO NOTHING",
    "ON -- so\n CONFLICT /* or /* not */ */ ( a) DO": "ON -- so\n CONFLICT /* or /* not */ */ ( tenant_id, a) DO",
    "x ON CONFLICT (a) DO NOTHING; y ON CONFLICT (b) DO NOTHING": "x ON CONFLICT (tenant_id, a) DO NOTHING;"
    " y ON CONFLICT (tenant_id, b) DO NOTHING",
}
KEPT = [
    "INSERT INTO x VALUES (1) ON CONFLICT DO NOTHING",
    "ON CONFLICT ON CONSTRAINT c DO UPDATE SET a = 1",
    "ON CONFLICT (tenant_id, a) DO NOTHING",
    'ON CONFLICT ("tenant_id", a) DO NOTHING',
    "SELECT 'ON CONFLICT (a)', E'\\' ON CONFLICT (a)', 'it''s ON CONFLICT (a)'",
    'SELECT 1 AS "ON CONFLICT (a)"',
    "DO $$ ON CONFLICT (a) $$",
    "DO $body$ $$ ON CONFLICT (a) $$ $body$",
    "-- ON CONFLICT (a)",
    "/* /* */ ON CONFLICT (a) */",
    "SELECT * FROM a JOIN b ON conflict = 1",
    "an unfinished 'literal ON CONFLICT",
]


@pytest.mark.parametrize(("given", "wanted"), CHANGED.items())
def test_a_conflict_target_begins_with_the_tenant(given: str, wanted: str) -> None:
    assert with_tenant_in_targets(given) == wanted
    assert with_tenant_in_targets(wanted) == wanted


@pytest.mark.parametrize("text", KEPT)
def test_everything_else_stays_as_it_is(text: str) -> None:
    assert with_tenant_in_targets(text) == text


@given(st.text(alphabet="onconflict(a)'\"$-/*\\ e\n,%é"))
def test_nothing_but_the_tenant_is_added_to_any_text(text: str) -> None:
    assert with_tenant_in_targets(text).replace("tenant_id, ", "") == text


@pytest.mark.parametrize(
    "query",
    [
        "INSERT INTO x VALUES (%s) ON CONFLICT (a) DO NOTHING",
        b"INSERT INTO x VALUES (%s) ON CONFLICT (a) DO NOTHING",
        sql.SQL("INSERT INTO {} VALUES (%s) ON CONFLICT ({}) DO NOTHING").format(sql.SQL("x"), sql.SQL("a")),
    ],
    ids=["text", "bytes", "composed"],
)
def test_every_kind_of_query_is_looked_at(query: str | bytes | sql.Composed) -> None:
    assert pooled_query(query, None) == "INSERT INTO x VALUES (%s) ON CONFLICT (tenant_id, a) DO NOTHING"


def test_a_select_is_handed_on_untouched() -> None:
    query = "SELECT 'conflict' FROM x"
    assert pooled_query(query, None) is query
