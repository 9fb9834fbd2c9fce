"""What a plan says of each migration, and that its length is bounded while its digest binds all of it."""

import json
from typing import Any
from uuid import UUID

from provisioning import lifecycle
from provisioning.models import Release, ReleasePath
from provisioning.rollout.path_plan import CHARACTERS, LOCKS, TEXTS, PathPlan, path_plan
from tests.provisioning.rollout.building import made, next_release, proposed

HEAVY = (
    "ALTER TABLE project ADD COLUMN size uuid DEFAULT gen_random_uuid()",
    "CREATE INDEX ON project (name)",
    "CREATE TABLE owner (id int PRIMARY KEY)",
    "CREATE INDEX ON owner (id)",
)


def act(kind: str, text: str, description: str = "") -> dict[str, Any]:
    return {"kind": kind, "text": text, "position": 0, "operation": "", "description": description}


def migration(name: str, *acts: dict[str, Any], **more: Any) -> dict[str, Any]:
    named = {"app": "projects", "name": name, "atomic": True, "unapply": False, "replaces": []}
    return {**named, "acts": list(acts), **more}


def shown(*migrations: dict[str, Any], pooled: bool = False) -> PathPlan:
    path = ReleasePath(id=UUID(int=1), migrations=list(migrations), pool_migrations=list(migrations)[:1])
    return path_plan(path, "first", pooled=pooled, tiers={"schema": 3, "database": 1})


def test_a_migration_says_its_statements_locks_and_work_on_rows() -> None:
    heavy = migration("0002_heavy", *(act("ddl", text) for text in HEAVY), act("dml", "UPDATE project SET size = 1"))
    python = migration("0003_python", act("python", "", "count the letters"), atomic=False, unapply=True)
    plan = shown(heavy, python)
    first, second = plan.migrations
    assert (first.migration, first.atomic, first.statements, first.data) == (
        "projects.0002_heavy", True, HEAVY, ("UPDATE project SET size = 1",),
    )  # fmt: skip
    assert (first.statement_count, first.data_count) == (4, 1)
    assert [(each.table, each.lock, each.rewrites, each.scans) for each in first.locks] == [
        ("project", "ACCESS EXCLUSIVE", True, True),
        ("project", "SHARE", False, True),
    ]
    assert (second.atomic, second.unapply, second.data, second.locks) == (False, True, ("count the letters",), ())
    assert (plan.targets, plan.tiers, plan.migration_count) == (4, {"database": 1, "schema": 3}, 2)


def test_a_pool_has_a_plan_of_its_own() -> None:
    assert [each.migration for each in shown(migration("0002_a"), migration("0003_b"), pooled=True).migrations] == [
        "projects.0002_a"
    ]


def test_a_long_path_is_counted_and_cut() -> None:
    columns = [act("ddl", f"ALTER TABLE t{number} ADD COLUMN c text") for number in range(TEXTS)]
    comment = act("ddl", f"COMMENT ON TABLE t1 IS '{'x' * 3_000}'")
    plan = shown(migration("0002_many", comment, *columns), migration("0003_more", act("dml", "DELETE FROM t1")))
    first, second = plan.migrations
    assert (len(first.statements), first.statement_count, len(first.locks)) == (TEXTS, TEXTS + 1, LOCKS)
    assert max(map(len, first.statements)) == CHARACTERS
    assert (second.data, second.data_count) == ((), 1)


def test_what_is_not_shown_is_bound_all_the_same() -> None:
    columns = [act("ddl", f"ALTER TABLE t{number} ADD COLUMN c text") for number in range(TEXTS)]
    one, other = (shown(migration("0002", *columns, act("ddl", f"DROP TABLE {name}"))) for name in ("a", "b"))
    assert one.migrations == other.migrations
    assert one.digest != other.digest


def test_a_draft_keeps_all_of_it_as_json(replayer: object) -> None:
    release: Release = next_release(statements=HEAVY)
    made(2)
    rollout = proposed(release)
    (path,) = lifecycle.plan_of(rollout).paths
    (kept,) = rollout.plan["paths"]
    assert kept == json.loads(json.dumps(kept))
    assert (kept["tiers"], kept["digest"]) == ({"schema": 2}, path.digest)
    (migration_,) = kept["migrations"]
    assert [lock["lock"] for lock in migration_["locks"]] == ["ACCESS EXCLUSIVE", "SHARE"]
    assert migration_["statements"] == list(HEAVY)
