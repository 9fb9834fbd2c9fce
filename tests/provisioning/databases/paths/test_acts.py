"""From what Django sent to acts: no server has to be asked."""

import pytest

from provisioning.databases.paths.acts import Act, step_of
from provisioning.databases.pooling import CannotPool


def acts_of(*statements: str, python: bool = False) -> list[Act]:
    operation = {
        "position": 3,
        "operation": "RunSQL",
        "description": "Raw SQL operation",
        "kind": "mixed",
        "python": python,
        "statements": list(statements),
    }
    event = {"app": "shelf", "name": "0002", "atomic": True, "replaces": [], "operations": [operation]}
    return step_of(event, unapply=False).acts


def test_one_text_of_both_kinds_is_taken_apart() -> None:
    text = "ALTER TABLE b ADD s int; UPDATE b SET s = 1; ALTER TABLE b ALTER s SET NOT NULL;"
    assert [(act.kind, act.text, act.position) for act in acts_of(text)] == [
        ("ddl", "ALTER TABLE b ADD s int", 3),
        ("dml", "UPDATE b SET s = 1", 3),
        ("ddl", "ALTER TABLE b ALTER s SET NOT NULL", 3),
    ]


def test_what_sets_the_session_is_left_out() -> None:
    text = (
        "SET search_path = a; SET LOCAL ROLE tenure_owner; RESET ROLE; RESET ALL; SHOW search_path;"
        " SET SESSION AUTHORIZATION DEFAULT; SET LOCAL lock_timeout = '1s'; SELECT setval('s', 9)"
    )
    assert [(act.kind, act.text) for act in acts_of(text)] == [
        ("ddl", "SET LOCAL lock_timeout = '1s'"),
        ("dml", "SELECT setval('s', 9)"),
    ]


@pytest.mark.parametrize("statement", ["COMMIT", "BEGIN", "ROLLBACK", "DISCARD ALL"])
def test_a_transaction_that_a_migration_ends_is_refused(statement: str) -> None:
    with pytest.raises(CannotPool) as refused:
        acts_of(f"CREATE TABLE t (); {statement}")
    assert refused.value.statement == statement


def test_python_is_one_act_and_tells_what_it_did_to_tables() -> None:
    (act,) = acts_of("SELECT 1", "INSERT INTO b VALUES (%s)", "CREATE INDEX ON b (s)", "SET LOCAL x = 1", python=True)
    assert (act.kind, act.text, act.changes) == ("python", "", ["CREATE INDEX ON b (s)"])
    assert "changes" not in act.row()


def test_a_text_that_the_parser_does_not_know_stays_whole() -> None:
    assert [(act.kind, act.text) for act in acts_of("PLEASE ALTER b; UPDATE b SET s = 1")] == [
        ("ddl", "PLEASE ALTER b; UPDATE b SET s = 1")
    ]
