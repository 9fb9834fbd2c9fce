"""A session of somebody who found a SQL injection in acme's application, with globex in the same pool: run it, read it.

.venv/bin/python -m pytest -q -s -n 0 -p no:randomly tests/isolation/test_session.py

The view pastes what is typed into its SQL and shows every row of every statement's answer, errors included.
"""

from collections.abc import Iterator

from tests.isolation.arena import Arena, search
from tests.isolation.attack import answer_of

TYPED = (
    ("acme's own project, as everybody uses the view", "{own}"),
    ("reads", "x' OR true --"),
    ("", "x' OR tenant_id = '{globex}' --"),
    ("", "x'; SELECT name FROM projects_project --"),
    ("", "x'; SELECT name FROM {schema}.projects_project WHERE tenant_id = '{globex}' --"),
    ("counts", "x'; SELECT count(*), count(DISTINCT tenant_id) FROM projects_project --"),
    ("writes", "x'; UPDATE projects_project SET name = 'x' WHERE tenant_id = '{globex}' --"),
    ("", "x'; DELETE FROM projects_document WHERE tenant_id = '{globex}' --"),
    ("", "x'; INSERT INTO projects_tag (tenant_id, name) VALUES ('{globex}', 'x') --"),
    ("", "x'; TRUNCATE projects_project CASCADE --"),
    (
        "claims to be globex",
        ("x'; SELECT set_config('backtrace_functions', '{globex_hex}', true); SELECT name FROM projects_project --"),
    ),
    ("", "x'; RESET ALL; SELECT name FROM {schema}.projects_project --"),
    ("", "x'; SELECT tenure_guard.enter('use', '{globex}', '{life}', {soon}, '1', '\\x00') --"),
    ("", "x'; COMMIT; SELECT name FROM {schema}.projects_project --"),
    ("becomes somebody", "x'; SET ROLE tenure_verifier; SELECT name FROM projects_project --"),
    ("", "x'; SET ROLE tenure_owner; SELECT name FROM projects_project --"),
    ("takes the boundary away", "x'; SET LOCAL row_security = off; SELECT name FROM projects_project --"),
    ("", "x'; ALTER TABLE projects_project DISABLE ROW LEVEL SECURITY --"),
    ("", "x'; DROP POLICY tenure ON projects_project --"),
    ("", "x'; SELECT * FROM tenure_guard.context_key --"),
    ("", "x'; CREATE TEMPORARY TABLE projects_project (name text) --"),
    ("looks over shoulders", "x'; SELECT query FROM pg_stat_activity --"),
)


def held(arena: Arena) -> Iterator[tuple[str, str, str]]:
    """(what it tries, what is typed, what the view shows)"""
    names = {
        "globex": arena.globex.tenant_id,
        "globex_hex": arena.globex.tenant_id.hex,
        "life": arena.globex.incarnation,
        "own": arena.own,
        "schema": arena.acme.schema,
        "soon": 4_102_444_800,
    }
    for what, text in TYPED:
        typed = text.format(**names)
        yield what, typed, answer_of(lambda typed=typed: search(arena.acme, typed))  # type: ignore[misc]
