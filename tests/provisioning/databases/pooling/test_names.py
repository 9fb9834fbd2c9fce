"""What is left unnamed is called in a pool what PostgreSQL calls it in a plain schema, whatever the names."""

import psycopg
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from provisioning.databases.pooling import compiled
from tests.provisioning.databases.pooling.side import Sides

# Long ones that share a beginning, so that what is made of them is cut off and collides; quotes, umlauts, wide signs.
NAMES = st.builds(
    lambda stem, tail: (stem + tail)[:31],
    st.sampled_from(["id", "Größe", 'quo"te', "käsekäsekäsekäsekäsekäsek", "x" * 29, "表" * 20]),
    st.sampled_from(["", "1", "_key", "ß", "yy"]),
)


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@st.composite
def tables(draw: st.DrawFn) -> str:
    """Statements that name nothing but tables and columns."""
    stem = draw(NAMES)
    columns = draw(st.lists(NAMES, min_size=2, max_size=4, unique=True))
    made = []
    for table in (stem, stem + draw(st.sampled_from(["b", "_" + columns[0][:9], "key" * 9]))):
        parts = [f"{quoted(column)} int {draw(st.sampled_from(['', 'UNIQUE', 'NOT NULL']))}" for column in columns]
        parts.append(f"UNIQUE ({', '.join(map(quoted, draw(st.permutations(columns))))})")
        parts.append(f"PRIMARY KEY ({quoted(columns[0])})")
        reference = f"REFERENCES {quoted(table)}"
        parts += [f"FOREIGN KEY ({quoted(columns[1])}) {reference}" for _time in range(draw(st.integers(0, 2)))]
        made.append(f"CREATE TABLE {quoted(table)} ({', '.join(parts)})")
        expressions = [
            quoted(columns[0]),
            f"(abs({quoted(columns[1])}))",
            f"({quoted(columns[1])} + 1)",
            f"({quoted(columns[0])}::text)",
            f"coalesce({quoted(columns[0])}, 1)",
            f"(CASE WHEN {quoted(columns[0])} > 1 THEN 1 ELSE {quoted(columns[1])} END)",
            f"((1 + {quoted(columns[0])})::bigint)",
            f"greatest({quoted(columns[0])}, 1)",
        ]
        for _index in range(draw(st.integers(0, 2))):
            chosen = draw(st.lists(st.sampled_from(expressions), min_size=1, max_size=3))
            made.append(f"CREATE INDEX ON {quoted(table)} ({', '.join(chosen)}) INCLUDE ({quoted(columns[1])})")
        added = quoted("added" + columns[1])[:40].rstrip('"') + '"'
        made.append(f"ALTER TABLE {quoted(table)} ADD COLUMN {added} int UNIQUE {reference}, ADD UNIQUE ({added})")
    return ";\n".join(made)


@settings(max_examples=40)
@given(text=tables())
def test_the_pool_and_the_plain_schema_have_the_same_names(sides: Sides, text: str) -> None:
    fresh = Sides(sides.connection)
    try:
        fresh.run_plain(text)
    except psycopg.Error:  # two that are cut off to one name
        fresh.remove()
        reject()
    try:
        fresh.run_pooled(compiled(text))
        plain, pooled = fresh.shapes()
        assert pooled == plain
    finally:
        fresh.remove()


def test_a_name_that_is_taken_gets_a_number_in_both(sides: Sides) -> None:
    sides.run("CREATE TABLE a (b_c int UNIQUE); CREATE TABLE a_b (c int UNIQUE)")
    sides.run("CREATE TABLE IF NOT EXISTS a_b_c (key int); ALTER TABLE a ADD UNIQUE (b_c)")
    plain, pooled = sides.shapes()
    assert pooled == plain
    assert any("a_b_c_key1" in line for line in pooled)


def test_a_name_that_is_dropped_is_free_again(sides: Sides) -> None:
    sides.run("CREATE TABLE a (b int UNIQUE, c int); CREATE INDEX ON a (c)")
    sides.run("ALTER TABLE a ADD UNIQUE (b), DROP CONSTRAINT a_b_key; DROP INDEX a_c_idx; CREATE INDEX ON a (c)")
    sides.run("ALTER INDEX a_c_idx RENAME TO other; CREATE INDEX ON a (c)")
    plain, pooled = sides.shapes()
    assert pooled == plain
