import pytest

from provisioning.databases.statements import Kind, kind_of

KINDS = {
    "CREATE TABLE a (id int)": Kind.SCHEMA,
    "ALTER TABLE a ADD b int; CREATE INDEX c ON a (b)": Kind.SCHEMA,
    'SET CONSTRAINTS "c" IMMEDIATE; ALTER TABLE "a" DROP CONSTRAINT "c"': Kind.SCHEMA,
    "-- only a remark": Kind.SCHEMA,
    "": Kind.SCHEMA,
    "INSERT INTO a VALUES (1)": Kind.DATA,
    "  update a set b = 1": Kind.DATA,
    "WITH gone AS (DELETE FROM a RETURNING *) INSERT INTO b SELECT * FROM gone": Kind.DATA,
    "MERGE INTO a USING b ON true WHEN MATCHED THEN DELETE": Kind.DATA,
    "TRUNCATE a": Kind.DATA,
    "SELECT setval('a_id_seq', 7)": Kind.DATA,
    "DO $$ BEGIN PERFORM 1; END $$": Kind.DATA,
    "/* why */ DELETE FROM a": Kind.DATA,
    "ALTER TABLE a ADD b int; UPDATE a SET b = 1;": Kind.MIXED,
    "UPDATE a SET b = 1; ALTER TABLE a ALTER b SET NOT NULL": Kind.MIXED,
}


@pytest.mark.parametrize(("statement", "kind"), KINDS.items(), ids=KINDS.keys())
def test_statements_that_touch_rows_are_told_from_those_that_change_shape(statement: str, kind: Kind) -> None:
    assert kind_of([statement]) == kind


def test_several_statements_are_one_kind_only_if_each_is() -> None:
    assert kind_of(["CREATE TABLE a ()", "INSERT INTO a DEFAULT VALUES"]) == Kind.MIXED
    assert kind_of([]) == Kind.SCHEMA
