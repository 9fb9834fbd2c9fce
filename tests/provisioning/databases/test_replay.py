from uuid import uuid4

import psycopg
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from psycopg import sql

from provisioning.databases import replay as replaying
from provisioning.databases.ddl import drop_schema
from provisioning.databases.dump import rows_of_tables
from provisioning.databases.replay import checked, replay
from provisioning.models import Release

ORIGIN, COPY = "bp_" + "0" * 32, "t_" + "c" * 32
ODD = """
CREATE SCHEMA {0};
CREATE TABLE {0}.odd (
    id bigint GENERATED ALWAYS AS IDENTITY, word text, raw bytea, flag boolean, many numeric[], noted jsonb,
    at timestamptz DEFAULT now(), twice bigint GENERATED ALWAYS AS (id * 2) STORED);
"""

# What PostgreSQL can keep in a text: no NUL, no lone surrogate.
words = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


@pytest.mark.parametrize("copied_from", [1, 1_000], ids=["as COPY", "as INSERT"])
@settings(max_examples=25)
@given(rows=st.lists(st.tuples(st.none() | words, st.none() | st.binary()), min_size=1, max_size=5))
@example(
    rows=[("\\N", b"\\N"), (None, None), ("tab\t line\n quote' \\ \r\v\b\f", b"\x00\xff'"), ("", b""), ("\\n", b"\\")]
)
def test_rows_arrive_as_they_were(
    rows: list[tuple[str | None, bytes | None]],
    copied_from: int,
    house: None,
    superuser: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replaying, "COPIED_FROM", copied_from)
    release = Release(pk=uuid4(), placeholder=ORIGIN, script=sql.SQL(ODD).format(sql.SQL(ORIGIN)).as_string())
    try:
        superuser.execute(release.script)
        superuser.cursor().executemany(
            f"INSERT INTO {ORIGIN}.odd (word, raw, flag, many, noted) VALUES (%s, %s, true, '{{1.50,NULL}}', '{{}}')",
            rows,
        )
        release.seed = rows_of_tables(superuser, ORIGIN)
        with superuser.transaction():
            replay(superuser, release, COPY)
        assert rows_of_tables(superuser, COPY) == release.seed
    finally:
        for schema in (ORIGIN, COPY):
            superuser.execute(drop_schema(schema))


@pytest.mark.parametrize("name", ["T_a", 'a"b', "a-b", "a b", "1a", "schéma", "", "a;b"])
def test_a_name_that_would_need_quotes_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no derived name"):
        checked(name)
