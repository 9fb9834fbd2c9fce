"""Statements that a session has prepared: what is, for whom, and that they answer as they did before."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db import DatabaseError, ProgrammingError, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import example, given, settings
from hypothesis import strategies as st

from examples.projects.models import Project, Tag
from tenants.context import TenantContext, tenant_scope
from tenants.isolation.connections import alias_of
from tenants.isolation.db.pooled.errors import StatementLost
from tenants.isolation.db.pooled.prepared import OFTEN, is_preparable
from tests.pool_by_hand import SCHEMA, PoolByHand
from tests.tenants.isolation.asking import asked, atomic, wrapper

LISTED = "SELECT statement FROM pg_prepared_statements WHERE statement NOT LIKE '%%enter(%%'"
ENOUGH = OFTEN + 3  # the session asks for it, has it, uses it


@pytest.fixture
def acme(by_hand: PoolByHand) -> Iterator[TenantContext]:
    with tenant_scope(by_hand.acme) as context:
        yield context


def answered(context: TenantContext, text: str, parameters: Any) -> object:
    """The rows, or what kind of error."""
    try:
        return asked(context, text, parameters)
    except DatabaseError as error:
        return type(error)


def in_a_block(context: TenantContext, *acts: Callable[[], object]) -> None:
    with atomic(context):
        for act in acts:
            act()


def names(number: int) -> list[str]:
    return list(Tag.objects.filter(name=f"tag {number}").values_list("name", flat=True))


def test_what_is_repeated_is_prepared_for_this_tenants_turn_alone(by_hand: PoolByHand) -> None:
    for context in (by_hand.acme, by_hand.globex, by_hand.acme):
        with tenant_scope(context):
            Tag.objects.get_or_create(name="tag 1", pk=int(context is by_hand.acme) + 1)
            assert asked(context, LISTED) == []
            assert [names(1) for _turn in range(ENOUGH)] == [["tag 1"]] * ENOUGH
            ((statement,),) = asked(context, LISTED)
            assert "$1" in statement


def test_every_verb_of_the_orm_is_prepared_in_a_block_too(acme: TenantContext) -> None:
    for number in range(ENOUGH):
        with atomic(acme):
            tag = Tag.objects.create(name=f"tag {number}")
            assert Tag.objects.filter(pk=tag.pk).update(name=f"new {number}") == 1
            assert Tag.objects.get(pk=tag.pk).name == f"new {number}"
            assert list(Tag.objects.filter(pk__in=[tag.pk, -1], name__startswith="new")) == [tag]
            assert Project.objects.filter(tags=tag).count() == 0
            assert tag.delete()[0] == 1
    statements = [statement.split()[0] for (statement,) in asked(acme, LISTED)]
    assert set(statements) >= {"INSERT", "UPDATE", "SELECT", "DELETE"}


def test_an_error_of_a_prepared_statement_is_djangos_and_breaks_its_block_alone(acme: TenantContext) -> None:
    for number in range(ENOUGH):
        Tag.objects.create(name=f"tag {number}")
    for _turn in range(2):
        with pytest.raises(DatabaseError, match="projects_tag_name_key"):
            Tag.objects.create(name="tag 1")
        with pytest.raises(DatabaseError, match="projects_tag_name_key"):
            in_a_block(acme, lambda: Tag.objects.create(name="other"), lambda: Tag.objects.create(name="tag 1"))
    assert Tag.objects.count() == ENOUGH


def test_who_logs_queries_sees_their_values(acme: TenantContext) -> None:
    for _turn in range(ENOUGH):
        names(1)
    with CaptureQueriesContext(wrapper(acme)) as logged:
        names(1)
    assert "'tag 1'" in logged[0]["sql"]


def test_what_cannot_be_prepared_is_said_as_before(acme: TenantContext) -> None:
    for _turn in range(ENOUGH):
        with pytest.raises(ProgrammingError, match="does not exist"):
            asked(acme, "SELECT 1 FROM nowhere WHERE a = %s", [1])
        names(1)
    assert len(asked(acme, LISTED)) == 1


VALUE_IN_DOUBT = (
    "SELECT name FROM projects_tag ORDER BY %s",
    "SELECT name FROM projects_tag WHERE id = 1 ORDER BY id = 1, %s",
    "SELECT name FROM projects_tag GROUP BY name, %s",
    "SELECT %s FROM projects_tag",
    "SELECT name FROM projects_tag WHERE now() > joined_at + interval %s",
    "SELECT name FROM projects_tag WHERE name = 'now' AND id = %s",
    "SELECT name FROM projects_tag WHERE lower(name) = lower(%s)",
    "SELECT name FROM projects_tag WHERE id = %s LIMIT %s",
    "SELECT name FROM projects_tag WHERE id = %s; DELETE FROM projects_tag",
    "SELECT name FROM projects_tag WHERE id = %s -- or not",
    "SELECT name FROM projects_tag WHERE name LIKE '%%' AND id = %s",
    "SELECT name FROM projects_tag WHERE id = %(id)s",
    "WITH x AS (SELECT 1) SELECT name FROM projects_tag WHERE id = %s",
    "SET LOCAL statement_timeout = %s",
    "INSERT INTO projects_tag (name) VALUES (%s), (%s)",
    "INSERT INTO projects_tag (name) VALUES (%s, upper(%s))",
)


@pytest.mark.parametrize("text", VALUE_IN_DOUBT)
def test_sql_whose_values_may_mean_something_else_stays_with_literals(text: str) -> None:
    assert not is_preparable(text)


COLUMNS = {
    "small": "smallint",
    "whole": "integer",
    "big": "bigint",
    "exact": "numeric(12, 2)",
    "flag": "boolean",
    "word": "varchar(40)",
    "text": "text",
    "ident": "uuid",
    "day": "date",
    "moment": "timestamptz",
}
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([-(2**15), 2**15, -(2**31), 2**31, 2**63, -(2**63), 2**70]),
    st.sampled_from(["", "a", "1", "-1", "true", "2026-11-29", "%", "_", "\\", "a'b", "$1", "é", "x" * 50]),
    st.sampled_from([Decimal(1), Decimal("-1.50"), Decimal("0.005"), Decimal("1E+10"), Decimal("NaN")]),
    st.sampled_from([1.5, -0.0, float("inf")]),
    st.just(UUID(int=7)),
    st.just(date(2026, 11, 29)),
    st.sampled_from([datetime(2026, 11, 29, 12, tzinfo=UTC), datetime(2026, 11, 29, 12)]),  # noqa: DTZ001
    st.just(b"\x00a"),
    st.just([1, 2]),
)
NAN = Decimal("NaN")
SHAPES = (
    "SELECT id FROM {table} WHERE {column} = %s ORDER BY id",
    "SELECT id FROM {table} WHERE {column} > %s ORDER BY id",
    "SELECT id FROM {table} WHERE NOT ({column} <= %s) ORDER BY id",
    "SELECT id FROM {table} WHERE {column} IN (%s, %s) ORDER BY id",
    "SELECT id FROM {table} WHERE {column}::text LIKE %s ORDER BY id",
    "UPDATE {table} SET {column} = %s RETURNING {column}",
    "INSERT INTO {table} ({column}) VALUES (%s) RETURNING {column}",
    "DELETE FROM {table} WHERE {column} < %s RETURNING id",
)
ROWS = (
    "(1, 1, 1, 1, 1.00, true, 'a', '1', '00000000-0000-0000-0000-000000000007', '2026-11-29', '2026-11-29 12:00Z')",
    "(2, -1, -1, -1, -1.50, false, '%', '', '00000000-0000-0000-0000-000000000008', '2026-11-28', '2026-11-28 12:00Z')",
    "(3, 0, 2147483647, 9223372036854775807, 0.01, null, 'true', 'é', null, null, null)",
)


@pytest.fixture
def columns(by_hand: PoolByHand) -> Iterator[str]:
    """A table with a column of each type, in the tenants' reach and of no tenant."""
    table = f"{SCHEMA}.every_type"
    typed = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
    with by_hand.provisioner() as connection:
        connection.execute("SET ROLE tenure_owner")
        connection.execute(f"CREATE TABLE {table} (id bigint GENERATED BY DEFAULT AS IDENTITY, {typed})")
        connection.execute(f"INSERT INTO {table} VALUES {', '.join(ROWS)}")
        connection.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {by_hand.group}")
        connection.commit()
        yield table
        connection.execute(f"DROP TABLE {table}")
        connection.commit()


@settings(max_examples=150)
@example(shape="UPDATE {table} SET {column} = %s RETURNING {column}", column="exact", pairs=((NAN, None), (None, NAN)))
@given(
    shape=st.sampled_from(SHAPES),
    column=st.sampled_from(sorted(COLUMNS)),
    pairs=st.tuples(st.tuples(VALUES, VALUES), st.tuples(VALUES, VALUES)),
)
def test_a_prepared_statement_answers_as_the_same_one_with_literals(
    acme: TenantContext, columns: str, shape: str, column: str, pairs: tuple[tuple[object, ...], tuple[object, ...]]
) -> None:
    repeated, other = pairs
    text = shape.format(table=columns, column=column)
    assert is_preparable(text)
    wrapper(acme).close()

    def answer(values: tuple[object, ...]) -> object:
        try:
            with atomic(acme):
                given_back = answered(acme, text, values[: text.count("%s")])
                transaction.set_rollback(True, using=alias_of(acme))
        except DatabaseError as error:
            return type(error)
        return repr(given_back)  # NaN is no NaN's equal

    with CaptureQueriesContext(wrapper(acme)):  # those are never prepared
        expected = [answer(repeated), answer(other)]
    wrapper(acme).queries_log.clear()
    assert [answer(repeated) for _turn in range(ENOUGH)] == [expected[0]] * ENOUGH
    assert [answer(repeated), answer(other)] == expected


# --- a session that lost what it had ---------------------------------------------------------------------------------


def test_a_statement_that_the_session_lost_is_said_anew_where_nothing_was_run(acme: TenantContext) -> None:
    Tag.objects.create(name="tag 1")
    for lose in ("DEALLOCATE ALL", "DISCARD ALL"):
        wrapper(acme).close()
        for _turn in range(ENOUGH):
            names(1)
        assert len(asked(acme, LISTED)) == 1
        wrapper(acme).session.raw.execute(lose)
        assert [names(1) for _turn in range(2)] == [["tag 1"]] * 2


def test_a_block_that_reads_a_table_altered_since_is_to_be_run_again(acme: TenantContext, by_hand: PoolByHand) -> None:
    Tag.objects.create(name="tag 1")
    for length in (50, 40):
        for _turn in range(ENOUGH):
            names(1)
        with by_hand.provisioner() as connection:
            connection.execute("SET ROLE tenure_owner")
            connection.execute(f"ALTER TABLE {SCHEMA}.projects_tag ALTER COLUMN name TYPE varchar({length})")
        if length == 50:
            with pytest.raises(StatementLost):
                in_a_block(acme, Project.objects.count, lambda: names(1))
        with atomic(acme):  # as the first of a block, or alone, it is said anew
            assert names(1) == ["tag 1"]
        assert names(1) == ["tag 1"]
        assert asked(acme, LISTED) == []


def test_a_statement_injected_under_its_name_reaches_nobody_else(by_hand: PoolByHand) -> None:
    with tenant_scope(by_hand.globex):
        Tag.objects.create(name="tag 1")
    with tenant_scope(by_hand.acme):
        for _turn in range(ENOUGH):
            names(1)
        ((name,),) = asked(
            by_hand.acme, "SELECT name FROM pg_prepared_statements WHERE statement LIKE %s", ["%tag%$1%"]
        )
        poison = f"DEALLOCATE {name}; PREPARE {name} AS SELECT name FROM {SCHEMA}.projects_tag WHERE name <> $1"
        asked(by_hand.acme, f"SELECT 1; {poison}")
        assert names(1) == []  # acme's own rows are all that it finds
    with tenant_scope(by_hand.globex):
        assert [names(1) for _turn in range(ENOUGH)] == [["tag 1"]] * ENOUGH
